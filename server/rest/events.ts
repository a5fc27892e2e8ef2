/** Server-sent events: comment lines keep the connection, a reader that is too slow is let go. */
import type { ServerResponse } from 'node:http';
import { CodedError } from '../../core/base/errors.ts';
import { toCoded } from './problem.ts';

const KEEP_ALIVE_MS = 15_000;
const MAX_BUFFERED = 1024 * 1024;

/** Counts open streams, in all and per user. */
export class EventStreams {
  readonly #total: number;
  readonly #perUser: number;
  readonly #open = new Map<string, number>();
  #count = 0;

  constructor(total: number, perUser: number) {
    this.#total = total;
    this.#perUser = perUser;
  }

  /** @throws CodedError OVERLOADED */
  enter(user: string): () => void {
    const own = this.#open.get(user) ?? 0;
    if (this.#count >= this.#total || own >= this.#perUser)
      throw new CodedError('OVERLOADED', 'too many open streams', { retryAfterSeconds: 5 });
    this.#count++;
    this.#open.set(user, own + 1);
    return () => {
      this.#count--;
      const left = (this.#open.get(user) ?? 1) - 1;
      if (left === 0) this.#open.delete(user);
      else this.#open.set(user, left);
    };
  }
}

/** Writes until the source ends or the reader goes; the last event is `end` with the outcome. */
export async function writeEvents(
  response: ServerResponse,
  headers: Readonly<Record<string, string>>,
  source: AsyncIterable<unknown>,
): Promise<void> {
  response.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8' });
  response.write(': open\n\n');
  const timer = setInterval(() => void response.write(': still here\n\n'), KEEP_ALIVE_MS);
  let position = 0;
  try {
    for await (const event of source) {
      if (response.destroyed) return;
      response.write(`id: ${++position}\ndata: ${JSON.stringify(event)}\n\n`);
      if (response.writableLength > MAX_BUFFERED) throw new CodedError('OVERLOADED', 'the reader is too slow');
    }
    response.end('event: end\ndata: {"status":"done"}\n\n');
  } catch (thrown) {
    const { code, message } = toCoded(thrown);
    response.end(`event: end\ndata: ${JSON.stringify({ status: 'failed', code, detail: message })}\n\n`);
  } finally {
    clearInterval(timer);
  }
}
