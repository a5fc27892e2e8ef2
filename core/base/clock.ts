/** Time as a part: every timer and date of the programs comes through here, so tests can hold it still. */
import { setTimeout as wait } from 'node:timers/promises';

export interface Clock {
  /** milliseconds since 1970 */
  now(): number;
  /** milliseconds that never jump */
  monotonic(): number;
  /** resolves early, without an error, when the signal aborts */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await wait(ms, undefined, signal === undefined ? {} : { signal });
    } catch (thrown) {
      if (signal?.aborted !== true) throw thrown;
    }
  },
};
