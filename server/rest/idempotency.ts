/** Replies kept for repeated POSTs with one Idempotency-Key (server.md §6.1); in memory, so they end with the process. */
import { createHash } from 'node:crypto';
import { CodedError } from '../../core/base/errors.ts';
import { canonicalJson } from '../../core/base/json.ts';

export interface KeptReply {
  readonly status: number;
  readonly body: unknown;
}

const LIFE_MS = 24 * 3_600_000;
const MAX_KEPT = 10_000;

export class Idempotency {
  readonly #kept = new Map<string, { readonly at: number; readonly body: string; readonly reply: Promise<KeptReply> }>();

  /** Runs the work once for a key. @throws CodedError BAD_REQUEST, IDEMPOTENCY_MISMATCH */
  async once(
    asked: { readonly key: string; readonly principal: string; readonly route: string; readonly input: unknown; readonly now: number },
    work: () => Promise<KeptReply>,
  ): Promise<KeptReply & { readonly replayed: boolean }> {
    if (!/^[\x21-\x7e]{16,64}$/.test(asked.key)) throw new CodedError('BAD_REQUEST', 'an Idempotency-Key has 16 to 64 characters');
    const name = `${asked.principal}\n${asked.route}\n${asked.key}`;
    const body = createHash('sha256').update(canonicalJson(asked.input)).digest('hex');
    const known = this.#kept.get(name);
    if (known !== undefined && asked.now - known.at < LIFE_MS) {
      if (known.body !== body) throw new CodedError('IDEMPOTENCY_MISMATCH', 'this Idempotency-Key came with another request before');
      return { ...(await known.reply), replayed: true };
    }
    const reply = work();
    this.#kept.delete(name);
    if (this.#kept.size >= MAX_KEPT) this.#kept.delete(this.#kept.keys().next().value!);
    this.#kept.set(name, { at: asked.now, body, reply });
    try {
      return { ...(await reply), replayed: false };
    } catch (error) {
      // a failed request may be tried again with the same key
      this.#kept.delete(name);
      throw error;
    }
  }
}
