/** The loop of the agent: a cycle every interval, whatever happened in the one before; it ends by signal alone (server.md §4.7). */
import { backoffMs } from '../core/base/backoff.ts';
import type { Clock } from '../core/base/clock.ts';
import { CodedError, messageOf } from '../core/base/errors.ts';
import type { Logger } from '../core/base/log.ts';
import type { CycleResult } from './runtime.ts';

export interface DaemonParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** numbers in [0, 1) */
  random(): number;
  intervalMs(): number;
  jitterPct(): number;
  /** one cycle under the run lock; `talk` false = the held policy only */
  cycle(talk: boolean): Promise<CycleResult>;
  /** resolves when an early cycle is wanted (HUP, a finished manual run) */
  wake(): Promise<void>;
}

const BACKOFF_FIRST_MS = 5_000;
const REVOKED_MS = 3_600_000;
const HERD_WINDOW_MS = 60_000;

function jittered(intervalMs: number, pct: number, random: () => number): number {
  return Math.round(intervalMs * (1 + ((random() * 2 - 1) * pct) / 100));
}

/** Runs until the signal aborts. Failures of the server are backed off from; the held policy is enforced every interval all the while. */
export async function runDaemon(
  parts: DaemonParts,
  options: { readonly spreadFirst: boolean; readonly signal: AbortSignal },
): Promise<void> {
  const { clock, log, random } = parts;
  const { signal } = options;
  let failures = 0;
  let talkAgainAt = 0;
  if (options.spreadFirst) await clock.sleep(Math.floor(random() * Math.min(HERD_WINDOW_MS, parts.intervalMs())), signal);
  while (!signal.aborted) {
    const begun = clock.monotonic();
    const talk = begun >= talkAgainAt;
    try {
      const { problem, waitMs } = await parts.cycle(talk);
      if (talk) {
        failures = problem === undefined ? 0 : failures + 1;
        talkAgainAt = clock.monotonic() + pauseAfter(problem, waitMs, failures, parts);
      }
    } catch (thrown) {
      // caught here and nowhere above: the daemon goes on
      log.error('a cycle failed', {
        error: messageOf(thrown),
        code: thrown instanceof CodedError ? thrown.code : 'INTERNAL',
        hint: thrown instanceof CodedError ? thrown.hint : undefined,
      });
    }
    const elapsed = clock.monotonic() - begun;
    const interval = jittered(parts.intervalMs(), parts.jitterPct(), random);
    const untilTalk = talkAgainAt - clock.monotonic();
    const next = untilTalk > 0 ? Math.min(interval - elapsed, untilTalk) : interval - elapsed;
    await Promise.race([clock.sleep(Math.max(next, 100), signal), parts.wake()]);
  }
}

function pauseAfter(problem: CodedError | undefined, waitMs: number | undefined, failures: number, parts: DaemonParts): number {
  if (problem === undefined) return waitMs ?? 0;
  if (problem.code === 'REVOKED') return REVOKED_MS;
  const pause = backoffMs(failures - 1, { firstMs: BACKOFF_FIRST_MS, maxMs: parts.intervalMs() }, parts.random);
  return Math.min(parts.intervalMs(), Math.max(waitMs ?? 0, pause));
}
