/** Collects the garbage of this thread and of all worker threads, so that memory figures hold no chance. */
import { Session } from 'node:inspector';

const LONG_ENOUGH_MS = 1_500;
const session = new Session();
const attached: string[] = [];
let nextId = 1;

/** The inspector answers when it pleases, so the collection is asked for and given time. */
export async function collectGarbage(): Promise<void> {
  if (nextId === 1) {
    session.connect();
    session.on('NodeWorker.attachedToWorker', ({ params }) => attached.push(params.sessionId));
    session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
  }
  const message = JSON.stringify({ id: nextId++, method: 'HeapProfiler.collectGarbage' });
  session.post('HeapProfiler.collectGarbage');
  for (const sessionId of attached) session.post('NodeWorker.sendMessageToWorker', { sessionId, message });
  await new Promise((resolve) => setTimeout(resolve, LONG_ENOUGH_MS));
}
