/** How fast moves begin: an even rate with jitter, and what the last minute really was. */
import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/errors.ts';

/** one envoy in ten seconds: a share of a small fleet is never less */
const LEAST_PER_SECOND = 0.1;
const WINDOW_MS = 60_000;

/** Envoys a second. @param rate `2%/min`, `2%`, `10/s` or `10` @throws CodedError BAD_REQUEST */
export function perSecond(rate: string, fleet: number): number {
  const match = /^(\d{1,6}(?:\.\d{1,3})?)\s*(%(?:\/min)?|pct\/min|\/s)?$/.exec(rate.trim());
  const value = Number(match?.[1] ?? 0);
  if (match === null || value <= 0) throw new CodedError('BAD_REQUEST', `"${rate.slice(0, 40)}" is no rate`, { hint: '2%/min or 10/s' });
  const unit = match[2] ?? '/s';
  return unit === '/s' ? value : Math.max(LEAST_PER_SECOND, (fleet * value) / 100 / 60);
}

export class Pace {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #began: number[] = [];
  readonly perSecond: number;

  constructor(clock: Clock, random: () => number, rate: number) {
    this.#clock = clock;
    this.#random = random;
    this.perSecond = rate;
  }

  /** Waits for the next turn. */
  async turn(signal: AbortSignal): Promise<void> {
    if (this.#began.length > 0) await this.#clock.sleep((1000 / this.perSecond) * (0.5 + this.#random()), signal);
    const now = this.#clock.monotonic();
    this.#began.push(now);
    while (this.#began[0]! < now - WINDOW_MS) this.#began.shift();
  }

  /** envoys a second, of the last minute */
  get measured(): number {
    const now = this.#clock.monotonic();
    const recent = this.#began.filter((at) => at >= now - WINDOW_MS);
    if (recent.length < 2) return recent.length === 0 ? 0 : this.perSecond;
    return (recent.length - 1) / Math.max(0.001, (now - recent[0]!) / 1000);
  }
}
