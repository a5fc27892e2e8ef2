/** What hub and spoke say to each other: kinds of messages with their shapes, answered by handlers, asked through a session. */
import type { z } from 'zod';

/** One kind of message; both ends hold what arrives to its shape. */
export interface Kind<Q extends z.ZodType = z.ZodType, R extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly request: Q;
  readonly reply: R;
}

export function kind<Q extends z.ZodType, R extends z.ZodType>(name: string, request: Q, reply: R): Kind<Q, R> {
  return { name, request, reply };
}

export interface Asked {
  /** the site at the other end, proven by its server key */
  readonly from: string;
  /** aborts when the link is lost or the deadline has passed */
  readonly signal: AbortSignal;
}

/** Raw bytes beside the JSON of an answer. */
export interface Reply<T> {
  readonly body: T;
  readonly data?: Uint8Array | undefined;
}

export interface Answer {
  readonly kind: Kind;
  answer(request: unknown, asked: Asked): Promise<Reply<unknown>>;
}

/** A handler of one kind. A thrown CodedError arrives as such at the other end. */
export function answers<Q extends z.ZodType, R extends z.ZodType>(
  of: Kind<Q, R>,
  answer: (request: z.output<Q>, asked: Asked) => Promise<z.input<R>>,
): Answer {
  return { kind: of, answer: async (request, asked) => ({ body: await answer(request as z.output<Q>, asked) }) };
}

/** As {@link answers}, with raw bytes. */
export function answersWithData<Q extends z.ZodType, R extends z.ZodType>(
  of: Kind<Q, R>,
  answer: (request: z.output<Q>, asked: Asked) => Promise<Reply<z.input<R>>>,
): Answer {
  return { kind: of, answer: (request, asked) => answer(request as z.output<Q>, asked) };
}

export interface RequestOptions {
  /** default 30 s */
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An open link as one end sees it. */
export interface LinkSession {
  /** the site at the other end */
  readonly siteId: string;
  readonly isOpen: boolean;
  /** milliseconds, of the last heartbeat; undefined before the first */
  readonly rttMs: number | undefined;
  /** bytes of frames, both ways, since the link came up */
  readonly traffic: { readonly sent: number; readonly received: number };
  /** @throws CodedError SPOKE_UNAVAILABLE when the link is lost, DEADLINE, UNIMPLEMENTED for a kind the other end does not know, or what it answered */
  request<Q extends z.ZodType, R extends z.ZodType>(of: Kind<Q, R>, body: z.input<Q>, options?: RequestOptions): Promise<z.output<R>>;
  requestData<Q extends z.ZodType, R extends z.ZodType>(
    of: Kind<Q, R>,
    body: z.input<Q>,
    options?: RequestOptions,
  ): Promise<Reply<z.output<R>>>;
  /** called once, also when it is closed already */
  onClose(listener: (reason: string) => void): void;
  close(reason: string): void;
}
