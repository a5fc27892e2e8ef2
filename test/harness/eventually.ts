/** The only way that tests wait: the assertion is tried until it holds, and its own failure is what a reader sees in the end. */
import { setTimeout as sleep } from 'node:timers/promises';

export async function eventually<T>(assertion: () => T | Promise<T>, { timeoutMs = 10_000, everyMs = 50 } = {}): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await assertion();
    } catch (thrown) {
      if (performance.now() > end) throw thrown;
      await sleep(everyMs);
    }
  }
}
