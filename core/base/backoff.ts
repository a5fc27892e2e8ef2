/** Retry in one place: exponential back-off with full jitter, only for errors that may be repeated. */
import type { Clock } from './clock.ts';
import { CodedError, ERROR_CODES } from './errors.ts';

export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** Full jitter: uniform in [0, min(max, first * 2^attempt)]. `random` gives numbers in [0, 1). */
export function backoffMs(attempt: number, { firstMs, maxMs }: Backoff, random: () => number): number {
  return Math.floor(random() * Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30)));
}

export function isRetryable(thrown: unknown): boolean {
  return thrown instanceof CodedError && ERROR_CODES[thrown.code].retry !== 'no';
}

/** Runs `action` until it succeeds, fails for good, runs out of attempts, or the signal aborts. */
export async function retry<T>(
  action: (attempt: number) => Promise<T>,
  options: { attempts: number; backoff: Backoff; clock: Clock; random: () => number; signal: AbortSignal },
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await action(attempt);
    } catch (thrown) {
      if (attempt + 1 >= options.attempts || options.signal.aborted || !isRetryable(thrown)) throw thrown;
      const asked = thrown instanceof CodedError ? (thrown.retryAfterSeconds ?? 0) * 1_000 : 0;
      await options.clock.sleep(Math.max(asked, backoffMs(attempt, options.backoff, options.random)), options.signal);
    }
  }
}
