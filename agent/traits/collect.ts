/** Runs the collectors that are due, side by side, each under its own time limit; one that fails keeps nothing back. */
import type { Clock } from '../../core/base/clock.ts';
import { messageOf } from '../../core/base/errors.ts';
import type { Json } from '../../core/base/json.ts';
import type { Logger } from '../../core/base/log.ts';
import type { CollectorContext, TraitCollector } from './collector.ts';

const DEFAULT_TIMEOUT_MS = 5_000;
const PERIODIC_MS = 3_600_000;

export type CollectedTraits = Readonly<Record<string, Json>>;

export interface TraitSource {
  /** one cycle: what is due is asked anew, the rest comes from memory; `fresh` = everything is due */
  collect(context: CollectorContext, options?: { readonly fresh?: boolean }): Promise<CollectedTraits>;
  /** the next cycle asks the stable collectors again (after a run that changed packages, host name or time zone) */
  expire(): void;
}

interface Remembered {
  readonly value: Json | undefined;
  readonly cycle: number;
  readonly at: number;
}

export function createTraitSource(options: {
  readonly collectors: readonly TraitCollector[];
  readonly clock: Clock;
  readonly log: Logger;
  /** stable collectors are asked every this many cycles */
  readonly refreshCycles: number;
}): TraitSource {
  const { collectors, clock, log, refreshCycles } = options;
  const memory = new Map<string, Remembered>();
  let cycle = 0;

  function isDue({ name, refresh }: TraitCollector): boolean {
    const last = memory.get(name);
    if (last === undefined || refresh === 'volatile') return true;
    return refresh === 'stable' ? cycle - last.cycle >= refreshCycles : clock.monotonic() - last.at >= PERIODIC_MS;
  }

  async function ask(collector: TraitCollector, context: CollectorContext): Promise<void> {
    try {
      const value = await withinLimit(collector, context, clock);
      memory.set(collector.name, { value, cycle, at: clock.monotonic() });
    } catch (thrown) {
      // left out this time and asked again in the next cycle
      memory.delete(collector.name);
      log.warn('a trait collector failed', { collector: collector.name, error: messageOf(thrown) });
    }
  }

  return {
    async collect(context, { fresh = false } = {}) {
      await Promise.all(collectors.filter((one) => fresh || isDue(one)).map((one) => ask(one, context)));
      cycle += 1;
      const known = collectors.flatMap(({ name }): [string, Json][] => {
        const value = memory.get(name)?.value;
        return value === undefined ? [] : [[name, value]];
      });
      return Object.fromEntries(known);
    },
    expire() {
      for (const { name, refresh } of collectors) if (refresh === 'stable') memory.delete(name);
    },
  };
}

/** The limit holds even for a collector that does not listen to its signal. */
async function withinLimit({ name, collect, timeoutMs = DEFAULT_TIMEOUT_MS }: TraitCollector, context: CollectorContext, clock: Clock) {
  const limit = new AbortController();
  const done = new AbortController();
  const late = clock.sleep(timeoutMs, done.signal).then(() => {
    if (done.signal.aborted) return undefined;
    limit.abort();
    throw new Error(`${name} took longer than ${timeoutMs} ms`);
  });
  try {
    return await Promise.race([collect({ ...context, signal: AbortSignal.any([context.signal, limit.signal]) }), late]);
  } finally {
    done.abort();
  }
}
