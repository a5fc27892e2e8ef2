/** Request sequence numbers: strictly growing over restarts, reserved in blocks so that not every request costs a disk write. */
import type { StateStore } from '../state/state-store.ts';

const BLOCK = 1_000;

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
    if (this.#next >= this.#reserved) {
      this.#reserved = this.#next + BLOCK;
      await this.#facts.set('sequence', this.#reserved);
    }
    return this.#next;
  }

  /** The server has seen higher numbers (this state was restored from a copy): go on from the time, which grew meanwhile. */
  jump(now: number): void {
    this.#next = Math.max(this.#next, now);
    this.#reserved = Math.min(this.#reserved, this.#next);
  }
}
