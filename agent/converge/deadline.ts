/** A time limit around work that may or may not listen to its signal. */
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';

/** Commands get TERM at the limit and KILL 10 s later; what does not come back by then is left behind. */
const GRACE_MS = 15_000;

/** @throws CodedError DEADLINE */
export async function withDeadline<T>(
  { timeoutMs, clock, signal }: { readonly timeoutMs: number; readonly clock: Clock; readonly signal: AbortSignal },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const done = new AbortController();
  const late = async (): Promise<never> => {
    await clock.sleep(timeoutMs, done.signal);
    if (!done.signal.aborted) limit.abort(new CodedError('DEADLINE', `took longer than ${Math.round(timeoutMs / 1_000)} s`));
    await clock.sleep(GRACE_MS, done.signal);
    throw limit.signal.reason ?? new CodedError('DEADLINE', 'was stopped');
  };
  const guard = late();
  guard.catch(() => undefined); // nobody waits for it any more when the work is done in time
  try {
    return await Promise.race([work(AbortSignal.any([signal, limit.signal])), guard]);
  } catch (thrown) {
    if (limit.signal.aborted) throw limit.signal.reason;
    throw thrown;
  } finally {
    done.abort();
  }
}
