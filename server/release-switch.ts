/** Brings a published release to the accepting threads: entries assigned, tables handed over, then one atomic switch. */
import type { Clock } from '../core/base/clock.ts';
import type { FleetIndex } from './fleet/fleet-index.ts';
import { buildReleaseTable, type EntryPolicy, type SiteAuthority } from './rpc/release-table.ts';
import type { RpcThreads } from './rpc/rpc-threads.ts';

/** What a loaded release offers (server/publish). */
export interface LoadedRelease {
  readonly number: number;
  readonly version: string;
  readonly root: string;
  readonly entries: ReadonlyMap<string, EntryPolicy & { readonly secretRefs: readonly string[] }>;
  /** the entry's id, or undefined without a match */
  entryIdFor(hostname: string): string | undefined;
  environmentOf(entryId: string): string | null;
}

/** References of the release before are still answered for this long (config.md §9.4). */
const PREVIOUS_MS = 10 * 60_000;

export class ReleaseSwitch {
  readonly #parts: {
    readonly fleet: FleetIndex;
    readonly rpc: RpcThreads;
    readonly clock: Clock;
    readonly authority: SiteAuthority;
    readonly observeAll: boolean;
  };
  #live: LoadedRelease | undefined;
  #previous: { readonly release: LoadedRelease; readonly until: number } | undefined;
  #order = new Map<string, number>();
  #turn: Promise<void> = Promise.resolve();

  constructor(parts: {
    readonly fleet: FleetIndex;
    readonly rpc: RpcThreads;
    readonly clock: Clock;
    readonly authority: SiteAuthority;
    readonly observeAll: boolean;
  }) {
    this.#parts = parts;
  }

  get live(): LoadedRelease | undefined {
    return this.#live;
  }

  /** When this resolves, every check-in that begins is answered from the release. */
  use(release: LoadedRelease): Promise<void> {
    return this.#inTurn(() => this.#use(release));
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #use(release: LoadedRelease): Promise<void> {
    const { fleet, rpc, clock, authority, observeAll } = this.#parts;
    const generation = fleet.generation + 1;
    const policies = [...release.entries.values()];
    const order = new Map(policies.map(({ entry }, index) => [entry, index]));
    fleet.assignEntries(generation, (hostname) => order.get(release.entryIdFor(hostname) ?? '') ?? -1);
    const before = fleet.size;
    await rpc.publish(
      buildReleaseTable({ number: release.number, version: release.version, root: release.root, entries: policies }, authority, {
        generation,
        observeAll,
      }),
    );
    if (this.#live !== undefined) this.#previous = { release: this.#live, until: clock.now() + PREVIOUS_MS };
    this.#live = release;
    this.#order = order;
    // whoever enrolled meanwhile was placed by the release before
    for (let slot = before; slot < fleet.size; slot++) fleet.assignEntry(slot, this.entryOf(fleet.hostname(slot)));
  }

  /** Hands the live release out anew: what carries authority beside it has changed. */
  refresh(): Promise<void> {
    return this.#inTurn(async () => {
      const { live } = this;
      if (live === undefined) return;
      const previous = this.#previous;
      await this.#use(live);
      this.#previous = previous;
    });
  }

  /** Index of the live entry of a hostname, -1 without one. */
  entryOf(hostname: string): number {
    return this.#order.get(this.#live?.entryIdFor(hostname) ?? '') ?? -1;
  }

  environmentOf(hostname: string): string | null {
    const entry = this.#live?.entryIdFor(hostname);
    return entry === undefined ? null : (this.#live?.environmentOf(entry) ?? null);
  }

  policyOf(hostname: string): (EntryPolicy & { readonly secretRefs: readonly string[] }) | undefined {
    return this.#live?.entries.get(this.#live.entryIdFor(hostname) ?? '');
  }

  /** A body that was issued to this host, by its hash: the live one, or the one before. */
  bodyOf(hostname: string, sha256: string): Uint8Array | undefined {
    for (const release of [this.#live, this.#previous?.release]) {
      const policy = release?.entries.get(release.entryIdFor(hostname) ?? '');
      if (policy?.bodySha256 === sha256) return policy.body;
    }
    return undefined;
  }

  allowedRefs(hostname: string): { readonly refs: ReadonlySet<string>; readonly secretsEpoch: number } {
    const policy = this.policyOf(hostname);
    const refs = new Set(policy?.secretRefs ?? []);
    if (this.#previous !== undefined && this.#parts.clock.now() < this.#previous.until) {
      const before = this.#previous.release;
      for (const ref of before.entries.get(before.entryIdFor(hostname) ?? '')?.secretRefs ?? []) refs.add(ref);
    }
    return { refs, secretsEpoch: policy?.secretsEpoch ?? 0 };
  }
}
