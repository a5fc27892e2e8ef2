/** So many at once, the others wait their turn. */
export class Slots {
  readonly #most: number;
  #taken = 0;
  readonly #waiting: (() => void)[] = [];
  readonly #idle: (() => void)[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  async with<T>(work: () => Promise<T>): Promise<T> {
    if (this.#taken >= this.#most) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#taken += 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // the place is handed on, so that no newcomer takes it first
      if (next !== undefined) next();
      else {
        this.#taken -= 1;
        if (this.#taken === 0) for (const resolve of this.#idle.splice(0)) resolve();
      }
    }
  }

  /** resolves once nothing runs and nothing waits */
  async idle(): Promise<void> {
    if (this.#taken > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }
}
