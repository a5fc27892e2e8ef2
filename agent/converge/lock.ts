/** One run at a time: a manual run asks the daemon to yield and waits, the daemon never waits (config.md §15.3). */
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { RunFiles } from '../state/run-files.ts';

export const LOCK_WAIT_MS = 120_000;
const POLL_MS = 200;

/** For the daemon: the work under the lock, or undefined at once when somebody else runs or wants to. */
export async function runIfFree<T>(files: RunFiles, work: () => Promise<T>): Promise<T | undefined> {
  if (files.isAskedToYield() || !files.tryLock()) return undefined;
  try {
    return await work();
  } finally {
    files.unlock();
  }
}

/** For a person: waits for the lock. @throws CodedError LOCK_BUSY */
export async function runWhenFree<T>(
  files: RunFiles,
  options: { readonly clock: Clock; readonly signal: AbortSignal; readonly waitMs?: number },
  work: () => Promise<T>,
): Promise<T> {
  const { clock, signal, waitMs = LOCK_WAIT_MS } = options;
  const until = clock.monotonic() + waitMs;
  try {
    for (let asked = false; !files.tryLock(); ) {
      const holder = files.holder();
      // another person's run is not pushed aside
      if (holder?.mode === 'daemon' && !asked) {
        files.askToYield();
        asked = true;
      }
      if (signal.aborted || clock.monotonic() >= until)
        throw new CodedError(
          'LOCK_BUSY',
          `another run (process ${holder?.pid ?? 'unknown'}) did not end within ${Math.round(waitMs / 1_000)} s`,
        );
      await clock.sleep(POLL_MS, signal);
    }
  } finally {
    files.stopAsking();
  }
  try {
    return await work();
  } finally {
    files.unlock();
  }
}
