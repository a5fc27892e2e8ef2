/** Request sequence numbers: strictly growing over restarts, reserved in blocks so that not every request costs a disk write. */
import type { StateStore } from '../state/state-store.ts';

const BLOCK = 1_000;
/** clocks that are off by more than this were never taken for numbers */
const FURTHEST_MS = 100 * 365 * 86_400_000;

export class Sequence {
  readonly #facts: StateStore['facts'];
  #next: number;
  #reserved: number;

  constructor(facts: StateStore['facts'], now: number) {
    this.#facts = facts;
    this.#reserved = facts.get('sequence') ?? now;
    this.#next = this.#reserved;
  }

  async next(): Promise<number> {
    this.#next += 1;
    const mine = this.#next;
    if (mine >= this.#reserved) {
      const reserved = mine + BLOCK;
      // a number that is not reserved on disk is never used: it would come again after a restart
      await this.#facts.set('sequence', reserved);
      this.#reserved = Math.max(this.#reserved, reserved);
    }
    return mine;
  }

  /**
   * The server has seen higher numbers (this state was restored from a copy, or made anew): go on from the time, which grew meanwhile, or from the number it
   * names, which is above the time when this machine's clock was once ahead. No server may burn the numbers up to the last one.
   */
  jump(now: number, highest: unknown): void {
    const named = typeof highest === 'number' && Number.isSafeInteger(highest) && highest < now + FURTHEST_MS ? highest : 0;
    this.#next = Math.max(this.#next, now, named);
    this.#reserved = Math.min(this.#reserved, this.#next);
  }
}
