/** Messages of a link as frames: cut into pieces on the way out, put together within limits on the way in. */
import { CodedError } from '../../core/base/errors.ts';
import { parseForeignJson } from '../../core/base/json.ts';
import { codecs } from '../../proto/load.ts';
import type { LinkFrame } from '../../proto/messages.ts';

/** Payload of one frame. */
export const PIECE_BYTES = 256 * 1024;
export const MAX_REQUEST_BYTES = 8 * 1024 * 1024;
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

const NOTHING = new Uint8Array(0);

export interface Message {
  /** JSON text */
  readonly body: Buffer;
  readonly data: Uint8Array | undefined;
}

export type Head = Partial<Pick<LinkFrame, 'id' | 'reply_to' | 'kind' | 'deadline_ms' | 'error'>>;

export function toMessage(value: unknown, data?: Uint8Array): Message {
  return { body: Buffer.from(JSON.stringify(value ?? null)), data };
}

export function sizeOf({ body, data }: Message): number {
  return body.length + (data?.length ?? 0);
}

/** The frames of a message, in order; the first one alone carries kind and deadline. */
export function* framesOf(head: Head, { body, data = NOTHING }: Message): Generator<Buffer> {
  const pieces: { body: Uint8Array; data: Uint8Array }[] = [];
  for (let at = 0; at < body.length; at += PIECE_BYTES) pieces.push({ body: body.subarray(at, at + PIECE_BYTES), data: NOTHING });
  for (let at = 0; at < data.length; at += PIECE_BYTES) pieces.push({ body: NOTHING, data: data.subarray(at, at + PIECE_BYTES) });
  if (pieces.length === 0) pieces.push({ body: NOTHING, data: NOTHING });
  const { id, reply_to, error } = head;
  for (const [chunk, piece] of pieces.entries())
    yield codecs.linkFrame.encode({
      ...(chunk === 0
        ? head
        : { ...(id === undefined ? {} : { id }), ...(reply_to === undefined ? {} : { reply_to }), error: error ?? false }),
      chunk,
      end: chunk === pieces.length - 1,
      ...piece,
    });
}

/** A frame of one piece. */
export function singleFrame(head: Head, value: unknown): Buffer {
  return codecs.linkFrame.encode({ ...head, end: true, body: toMessage(value).body });
}

export function jsonOf(body: Uint8Array): unknown {
  return body.length === 0 ? null : parseForeignJson(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
}

/** One message that is coming in. */
export class Assembly {
  readonly #limit: number;
  readonly #body: Uint8Array[] = [];
  readonly #data: Uint8Array[] = [];
  #next = 0;
  size = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The message once its last piece is here. @throws CodedError TOO_LARGE, BAD_REQUEST for a piece out of order */
  add(frame: Pick<LinkFrame, 'chunk' | 'end' | 'body' | 'data'>): Message | undefined {
    if (frame.chunk !== this.#next) throw new CodedError('BAD_REQUEST', `piece ${frame.chunk} came where ${this.#next} was due`);
    this.#next += 1;
    this.size += frame.body.length + frame.data.length;
    if (this.size > this.#limit) throw new CodedError('TOO_LARGE', `a message of a link is at most ${this.#limit} bytes`);
    if (frame.body.length > 0) this.#body.push(frame.body);
    if (frame.data.length > 0) this.#data.push(frame.data);
    if (!frame.end) return undefined;
    return { body: Buffer.concat(this.#body), data: this.#data.length === 0 ? undefined : Buffer.concat(this.#data) };
  }
}
