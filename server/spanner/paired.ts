/** Two sessions in one process: a hub's own site is asked the same way as a spoke. */
import type { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import type { Answer, Kind, LinkSession, Reply, RequestOptions } from './link.ts';

const DEADLINE_MS = 30_000;

class PairedSession implements LinkSession {
  readonly siteId: string;
  readonly rttMs = 0;
  readonly traffic = { sent: 0, received: 0 };
  readonly #from: string;
  readonly #answers: ReadonlyMap<string, Answer>;
  readonly #listeners: ((reason: string) => void)[] = [];
  #closed: string | undefined;

  constructor(siteId: string, from: string, answers: readonly Answer[]) {
    this.siteId = siteId;
    this.#from = from;
    this.#answers = new Map(answers.map((answer) => [answer.kind.name, answer]));
  }

  get isOpen(): boolean {
    return this.#closed === undefined;
  }

  async request<Q extends z.ZodType, R extends z.ZodType>(
    of: Kind<Q, R>,
    body: z.input<Q>,
    options?: RequestOptions,
  ): Promise<z.output<R>> {
    return (await this.requestData(of, body, options)).body;
  }

  async requestData<Q extends z.ZodType, R extends z.ZodType>(
    of: Kind<Q, R>,
    body: z.input<Q>,
    options: RequestOptions = {},
  ): Promise<Reply<z.output<R>>> {
    const lost = (reason: string) => new CodedError('SPOKE_UNAVAILABLE', `the link to ${this.siteId} is closed: ${reason}`);
    if (this.#closed !== undefined) throw lost(this.#closed);
    const answer = this.#answers.get(of.name);
    if (answer === undefined) throw new CodedError('UNIMPLEMENTED', `${this.siteId} does not answer ${of.name}`);
    const deadlineMs = options.deadlineMs ?? DEADLINE_MS;
    const ended = new AbortController();
    const signal = options.signal === undefined ? ended.signal : AbortSignal.any([ended.signal, options.signal]);
    let timer: NodeJS.Timeout | undefined;
    const gone = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new CodedError('DEADLINE', `no answer from ${this.siteId} within ${deadlineMs} ms`)), deadlineMs);
      this.#listeners.push((reason) => reject(lost(reason)));
    });
    gone.catch(() => undefined);
    try {
      const { body: reply, data } = await Promise.race([answer.answer(of.request.parse(body), { from: this.#from, signal }), gone]);
      return { body: of.reply.parse(reply), data };
    } finally {
      clearTimeout(timer);
      ended.abort();
    }
  }

  onClose(listener: (reason: string) => void): void {
    if (this.#closed === undefined) this.#listeners.push(listener);
    else listener(this.#closed);
  }

  close(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    for (const listener of this.#listeners.splice(0)) listener(reason);
  }
}

export interface PairEnd {
  readonly siteId: string;
  readonly answers: readonly Answer[];
}

/** The first session asks `b` in the name of `a`, the second asks `a`. */
export function pairedSessions(a: PairEnd, b: PairEnd): readonly [LinkSession, LinkSession] {
  const toB = new PairedSession(b.siteId, a.siteId, b.answers);
  const toA = new PairedSession(a.siteId, b.siteId, a.answers);
  toB.onClose((reason) => toA.close(reason));
  toA.onClose((reason) => toB.close(reason));
  return [toB, toA];
}
