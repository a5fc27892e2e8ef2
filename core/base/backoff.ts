/** Exponential back-off with full jitter. */

export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** Full jitter: uniform in [0, min(max, first * 2^attempt)]. `random` gives numbers in [0, 1). */
export function backoffMs(attempt: number, { firstMs, maxMs }: Backoff, random: () => number): number {
  return Math.floor(random() * Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30)));
}
