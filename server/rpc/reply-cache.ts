/** Answers of forwarded calls, kept for two minutes: an honest retry gets the same bytes and nothing is applied twice. */
import type { Clock } from '../../core/base/clock.ts';
import type { Forwarded } from './messages.ts';

const LIFE_MS = 2 * 60_000;

export class ReplyCache {
  readonly #clock: Clock;
  readonly #replies = new Map<number, { readonly sequence: number; readonly at: number; readonly reply: Promise<Uint8Array> }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  answer(call: Forwarded, make: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const now = this.#clock.now();
    const held = this.#replies.get(call.slot);
    if (call.retry && held !== undefined && held.sequence === call.sequence && now - held.at < LIFE_MS) return held.reply;
    const reply = make();
    this.#replies.delete(call.slot);
    this.#replies.set(call.slot, { sequence: call.sequence, at: now, reply });
    reply.catch(() => this.#replies.delete(call.slot));
    for (const [slot, { at }] of this.#replies) {
      if (now - at < LIFE_MS) break;
      this.#replies.delete(slot);
    }
    return reply;
  }
}
