/** Collects the garbage of this thread and of all worker threads, so that memory figures hold no chance. */
import { Session } from 'node:inspector/promises';

export async function collectGarbage(): Promise<void> {
  const session = new Session();
  session.connect();
  const attached: string[] = [];
  session.on('NodeWorker.attachedToWorker', ({ params }) => attached.push(params.sessionId));
  await session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
  for (let round = 0; round < 2; round++) {
    await session.post('HeapProfiler.collectGarbage');
    for (const sessionId of attached) {
      const answered = new Promise<void>((resolve) => {
        session.once('NodeWorker.receivedMessageFromWorker', () => resolve());
      });
      await session.post('NodeWorker.sendMessageToWorker', {
        sessionId,
        message: JSON.stringify({ id: round + 1, method: 'HeapProfiler.collectGarbage' }),
      });
      await answered;
    }
  }
  await session.post('NodeWorker.disable');
  session.disconnect();
}
