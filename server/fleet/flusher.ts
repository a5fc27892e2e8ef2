/** Write-behind: dirty envoys and trait deltas go to the store in batches; the sequence high-water mark runs ahead of what was issued. */
import type { Clock } from '../../core/base/clock.ts';
import { messageOf } from '../../core/base/errors.ts';
import { isPlainObject, type JsonObject, parseForeignJson } from '../../core/base/json.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Store, TraitsChange } from '../store/store.ts';
import type { FleetIndex } from './fleet-index.ts';

/** Headers issued between two flushes stay below the stored mark plus this (config.md §13.2). */
const SEQ_HEADROOM_MS = 60_000;
export const SEQ_COUNTER = 'header_seq';

export interface FlusherParts {
  readonly fleet: FleetIndex;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly intervalMs: number;
  readonly batch: number;
  /** seconds a flush took, rows it wrote */
  measured(seconds: number, rows: number): void;
}

export class Flusher {
  readonly #parts: FlusherParts;
  #traits: TraitsChange[] = [];
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(parts: FlusherParts) {
    this.#parts = parts;
  }

  /** Reserves the first stretch of sequence numbers, then flushes every interval. */
  async start(): Promise<void> {
    const { fleet, store, clock } = this.#parts;
    fleet.lastIssuedSeq = await store.counters.get(SEQ_COUNTER);
    await store.counters.raise(SEQ_COUNTER, Math.max(clock.now(), fleet.lastIssuedSeq) + SEQ_HEADROOM_MS);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.flush().finally(() => this.#schedule());
    }, this.#parts.intervalMs);
    this.#timer.unref();
  }

  /** A delta as an accepting thread passed it on; the hash column is set already. */
  addTraits(
    slot: number,
    delta: {
      readonly baseHash: string;
      readonly hash: string;
      readonly full: boolean;
      readonly set: Uint8Array;
      readonly removed: readonly string[];
    },
  ): void {
    const set = parseSet(delta.set);
    const view = this.#parts.fleet.view(slot);
    this.#traits.push({
      envoyId: view.id,
      baseHash: delta.baseHash,
      hash: delta.hash,
      full: delta.full,
      set,
      removed: delta.removed.filter((name) => COLLECTOR.test(name)),
    });
  }

  /** Writes everything that is due; what fails stays for the next time. */
  async flush(): Promise<void> {
    const begun = this.#parts.clock.monotonic();
    let rows = 0;
    try {
      rows += await this.#flushTraits();
      rows += await this.#flushEnvoys();
      const { fleet, store, clock } = this.#parts;
      await store.counters.raise(SEQ_COUNTER, Math.max(clock.now(), fleet.lastIssuedSeq) + SEQ_HEADROOM_MS);
    } catch (thrown) {
      this.#parts.log.error('the fleet index could not be flushed', { error: messageOf(thrown) });
    }
    this.#parts.measured((this.#parts.clock.monotonic() - begun) / 1000, rows);
  }

  async #flushTraits(): Promise<number> {
    const { store, fleet, batch } = this.#parts;
    let rows = 0;
    while (this.#traits.length > 0) {
      const some = this.#traits.slice(0, batch);
      const unknownBase = await store.traits.mergeBatch(some);
      this.#traits = this.#traits.slice(some.length);
      // the stored set is older than the index believed: forgetting the hash makes the next check-in send the whole set
      for (const id of unknownBase) {
        const slot = fleet.slotOf(id);
        if (slot >= 0) fleet.columns.traitsHash.fill(0, slot * 32, slot * 32 + 32);
      }
      rows += some.length;
    }
    return rows;
  }

  async #flushEnvoys(): Promise<number> {
    const { store, fleet, batch } = this.#parts;
    let rows = 0;
    for (;;) {
      const some = fleet.takeDirty(batch);
      if (some.length === 0) return rows;
      try {
        await store.envoys.saveBatch(some);
      } catch (thrown) {
        for (const { id } of some) fleet.markDirty(id);
        throw thrown;
      }
      rows += some.length;
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
    await this.flush();
  }
}

/** Names become keys of a shared statement: one that a database refuses (NUL, half a surrogate pair) would hold up the batch of everybody. */
const COLLECTOR = /^[^\p{Cc}\p{Cs}]{1,200}$/u;

function parseSet(bytes: Uint8Array): JsonObject {
  try {
    const value = parseForeignJson(Buffer.from(bytes).toString('utf8'));
    if (!isPlainObject(value)) return {};
    return Object.fromEntries(Object.entries(value).filter(([name]) => COLLECTOR.test(name))) as JsonObject;
  } catch {
    // the agent signed something that is no JSON object: nothing is merged, its hash will not fit and a full set is asked for
    return {};
  }
}
