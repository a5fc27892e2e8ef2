/** Equal questions at the same time, or shortly after, are asked once. */
import type { Clock } from '../../core/base/clock.ts';

interface Flight {
  readonly answer: Promise<unknown>;
  /** milliseconds of the monotonic clock; undefined while it is under way */
  endedAt: number | undefined;
}

/** Answers kept at a time. */
const MOST = 64;

export class SingleFlight {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #freshMs: number;
  readonly #flights = new Map<string, Flight>();

  constructor(clock: Pick<Clock, 'monotonic'>, freshMs: number) {
    this.#clock = clock;
    this.#freshMs = freshMs;
  }

  once(key: string, work: () => Promise<unknown>): Promise<unknown> {
    const now = this.#clock.monotonic();
    for (const [other, { endedAt }] of this.#flights)
      if (endedAt !== undefined && now - endedAt > this.#freshMs) this.#flights.delete(other);
    const known = this.#flights.get(key);
    if (known !== undefined) return known.answer;
    const answer = work();
    const flight: Flight = { answer, endedAt: undefined };
    answer.then(
      () => {
        flight.endedAt = this.#clock.monotonic();
      },
      // a failure is not kept: the next one tries again
      () => this.#flights.delete(key),
    );
    if (this.#flights.size < MOST) this.#flights.set(key, flight);
    return answer;
  }
}
