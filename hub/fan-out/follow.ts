/** Finished runs of the whole fleet as they come: every site is asked for what is next, again and again. */
import { streamRuns } from '../../core/api/runs.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { type Handler, handler } from '../../server/rest/handler.ts';
import { runsTail } from '../../server/spanner/kinds/query.ts';
import { type AskedSite, type Asking, askerOf, type Input } from './ask.ts';

type Run = (typeof streamRuns.reply)['_output'];

const WAIT_MS = 20_000;
/** What a slow reader may be behind; the oldest go. */
const MAX_WAITING = 1000;
/** A site without a link is looked at again after this. */
const AGAIN_MS = 1_000;

class Feed {
  readonly #waiting: Run[] = [];
  #failure: CodedError | undefined;
  #wake: () => void = () => undefined;

  push(runs: readonly Run[]): void {
    this.#waiting.push(...runs);
    this.#waiting.splice(0, Math.max(0, this.#waiting.length - MAX_WAITING));
    this.#wake();
  }

  fail(error: CodedError): void {
    this.#failure = error;
    this.#wake();
  }

  async *runs(signal: AbortSignal): AsyncIterable<Run> {
    const ended = () => this.#wake();
    signal.addEventListener('abort', ended);
    try {
      while (!signal.aborted) {
        if (this.#failure !== undefined) throw this.#failure;
        const next = this.#waiting.shift();
        if (next !== undefined) yield next;
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
            if (signal.aborted) resolve();
          });
      }
    } finally {
      signal.removeEventListener('abort', ended);
    }
  }
}

/** Follows one site until the reader goes; a lost link is followed again when it is back. */
async function followSite(site: () => AskedSite | undefined, feed: Feed, clock: Clock, input: Input): Promise<void> {
  const { signal } = input;
  const { target } = input.query as { target?: string };
  let cursor: string | undefined;
  while (!signal.aborted) {
    const session = site()?.session;
    if (session?.isOpen !== true) {
      await clock.sleep(AGAIN_MS, signal);
      continue;
    }
    try {
      const question = {
        wait_ms: WAIT_MS,
        principal: askerOf(input.principal),
        ...(cursor === undefined ? {} : { cursor }),
        ...(target === undefined ? {} : { target }),
      };
      const reply = await session.request(runsTail, question, { deadlineMs: WAIT_MS + 10_000, signal });
      cursor = reply.cursor;
      feed.push(reply.items.map((item) => streamRuns.reply.parse(item)));
    } catch (thrown) {
      if (signal.aborted) return;
      if (thrown instanceof CodedError && ['TARGET_SYNTAX', 'PERMISSION_DENIED', 'BAD_REQUEST'].includes(thrown.code)) {
        feed.fail(thrown);
        return;
      }
      await clock.sleep(AGAIN_MS, signal);
    }
  }
}

export function followHandler(asking: Asking, clock: Clock): Handler {
  return handler(streamRuns, (input) => {
    const { spoke } = input.query;
    const ids = asking.sites.map(({ id }) => id).filter((id) => spoke === undefined || id === spoke);
    if (ids.length === 0) throw new CodedError('NOT_FOUND', `no spoke ${spoke ?? ''}`);
    const feed = new Feed();
    for (const id of ids)
      void followSite(() => asking.sites.find((site) => site.id === id), feed, clock, input as unknown as Input).catch((thrown: unknown) =>
        feed.fail(thrown instanceof CodedError ? thrown : new CodedError('INTERNAL', String(thrown))),
      );
    return feed.runs(input.signal);
  });
}
