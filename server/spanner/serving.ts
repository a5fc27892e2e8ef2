/** The answering half of a link: requests are put together, handed to their handler with a deadline, and answered; so many at once and no more. */
import { CodedError } from '../../core/base/errors.ts';
import type { LinkFrame } from '../../proto/messages.ts';
import { isUnexpected, toFault } from '../rpc/fault.ts';
import { Assembly, type Head, jsonOf, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, type Message, sizeOf, toMessage } from './frames.ts';
import type { Answer } from './link.ts';

const MOST_RUNNING = 64;
/** Bytes of requests and of answers that may lie here at once. */
const MOST_BYTES = 8 * 1024 * 1024;
const MAX_DEADLINE_MS = 600_000;

interface Incoming {
  readonly kind: string;
  readonly deadlineMs: number;
  readonly assembly: Assembly;
}

export class Serving {
  readonly #answers: ReadonlyMap<string, Answer>;
  readonly #parts: {
    readonly from: string;
    send(head: Head, message: Message): Promise<void>;
    unexpected(kind: string, thrown: unknown): void;
  };
  readonly #incoming = new Map<number, Incoming>();
  readonly #running = new Map<number, AbortController>();
  #bytes = 0;
  #stopped = false;

  constructor(
    answers: readonly Answer[],
    parts: { readonly from: string; send(head: Head, message: Message): Promise<void>; unexpected(kind: string, thrown: unknown): void },
  ) {
    this.#answers = new Map(answers.map((answer) => [answer.kind.name, answer]));
    this.#parts = parts;
  }

  take(frame: LinkFrame): void {
    const known = frame.chunk === 0 ? undefined : this.#incoming.get(frame.id);
    if (frame.chunk > 0 && known === undefined) return; // of a request that was refused or cancelled
    const incoming = known ?? {
      kind: frame.kind,
      deadlineMs: Math.min(frame.deadline_ms === 0 ? MAX_DEADLINE_MS : frame.deadline_ms, MAX_DEADLINE_MS),
      assembly: new Assembly(MAX_REQUEST_BYTES),
    };
    try {
      const more = frame.body.length + frame.data.length;
      const isOne = known === undefined ? 1 : 0;
      // every piece counts: many requests that are never finished would fill this process otherwise
      if ((this.#running.size + this.#incoming.size) * isOne >= MOST_RUNNING || this.#bytes + more > MOST_BYTES + MAX_REQUEST_BYTES)
        throw new CodedError('OVERLOADED', 'too many requests on the link', { retryAfterSeconds: 1 });
      if (this.#running.has(frame.id) || (known === undefined && this.#incoming.has(frame.id)))
        throw new CodedError('BAD_REQUEST', 'two requests have one id');
      this.#bytes += more;
      this.#incoming.set(frame.id, incoming);
      const message = incoming.assembly.add(frame);
      if (message === undefined) return;
      this.#incoming.delete(frame.id);
      void this.#run(frame.id, incoming, message).finally(() => {
        this.#bytes -= incoming.assembly.size;
      });
    } catch (thrown) {
      this.#bytes -= this.#incoming.get(frame.id)?.assembly.size ?? 0;
      this.#incoming.delete(frame.id);
      void this.#fail(frame.id, thrown);
    }
  }

  cancel(id: number): void {
    const incoming = this.#incoming.get(id);
    if (incoming !== undefined) this.#bytes -= incoming.assembly.size;
    this.#incoming.delete(id);
    this.#running.get(id)?.abort();
  }

  stop(): void {
    this.#stopped = true;
    for (const running of this.#running.values()) running.abort();
    this.#incoming.clear();
  }

  async #run(id: number, { kind, deadlineMs }: Incoming, message: Message): Promise<void> {
    const controller = new AbortController();
    this.#running.set(id, controller);
    const timer = setTimeout(() => controller.abort(), deadlineMs);
    try {
      const answer = this.#answers.get(kind);
      if (answer === undefined) throw new CodedError('UNIMPLEMENTED', `nobody answers ${kind.slice(0, 80)} here`);
      const parsed = answer.kind.request.safeParse(parse(message));
      if (!parsed.success)
        throw new CodedError(
          'BAD_REQUEST',
          `${kind}: ${parsed.error.issues[0]?.path.join('.') ?? ''} ${parsed.error.issues[0]?.message ?? ''}`,
        );
      const reply = await answer.answer(parsed.data, { from: this.#parts.from, signal: controller.signal });
      const sent = toMessage(reply.body, reply.data);
      if (sizeOf(sent) > MAX_ANSWER_BYTES) throw new CodedError('TOO_LARGE', `the answer to ${kind} is above ${MAX_ANSWER_BYTES} bytes`);
      if (!controller.signal.aborted) await this.#parts.send({ reply_to: id }, sent);
    } catch (thrown) {
      if (isUnexpected(thrown) && !controller.signal.aborted) this.#parts.unexpected(kind, thrown);
      if (!controller.signal.aborted) await this.#fail(id, thrown);
    } finally {
      clearTimeout(timer);
      this.#running.delete(id);
    }
  }

  async #fail(id: number, thrown: unknown): Promise<void> {
    if (this.#stopped) return;
    try {
      await this.#parts.send({ reply_to: id, error: true }, toMessage(toFault(thrown)));
    } catch {
      // the link closed meanwhile: nobody is there to be told
    }
  }
}

function parse({ body }: Message): unknown {
  try {
    return jsonOf(body);
  } catch (cause) {
    throw new CodedError('BAD_REQUEST', 'the request is no JSON', { cause });
  }
}
