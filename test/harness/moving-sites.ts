/** Sites, agents and a hub for tests of moves: real stores, real ownership, real journal; links are pairs in this process, and anybody may die at any failpoint. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../core/base/clock.ts';
import type { EnvoyId } from '../../core/base/ids.ts';
import { newId } from '../../core/base/ids.ts';
import { newSigningKey } from '../../core/crypto/ed25519.ts';
import type { SignedGrant } from '../../core/policy/ownership.ts';
import { Batches } from '../../hub/batches.ts';
import type { MoveSite } from '../../hub/move-ports.ts';
import { Mover } from '../../hub/mover.ts';
import { grantIn, Roster } from '../../hub/roster.ts';
import { createTrail } from '../../server/audit/trail.ts';
import type { AtFailpoint, Failpoint } from '../../server/failpoints.ts';
import { FLAG } from '../../server/fleet/columns.ts';
import { FleetIndex } from '../../server/fleet/fleet-index.ts';
import { Ownership } from '../../server/fleet/ownership.ts';
import { RunIntake } from '../../server/fleet/run-intake.ts';
import type { ServerIdentity } from '../../server/identity/server-identity.ts';
import type { Answer, LinkSession } from '../../server/spanner/link.ts';
import { pairedSessions } from '../../server/spanner/paired.ts';
import { Confirming, moveAnswers } from '../../server/spanner/site/moves.ts';
import { rosterAnswers, watchRoster } from '../../server/spanner/site/roster.ts';
import { openDatabase } from '../../server/store/database.ts';
import type { Store } from '../../server/store/store.ts';
import { quietLog } from '../fakes/quiet-log.ts';
import type { MoveHistory } from './move-history.ts';
import { siteAuthority } from './two-sites.ts';

const RETRY = { firstMs: 5, maxMs: 20 };

/** One life of a process: what it does after its death does not happen. */
export class Life {
  dead = false;
  /** failpoints to pass until it dies */
  fuse: number | undefined;
  readonly died: (() => void)[] = [];

  #point: Failpoint | undefined;

  /** at the next time that it comes there */
  dieAt(point: Failpoint): void {
    this.#point = point;
  }

  readonly failpoint: AtFailpoint = (name) => {
    this.check();
    if (this.fuse !== undefined) this.fuse -= 1;
    if (this.#point !== name && this.fuse !== 0) return;
    this.kill();
    throw new Error('killed');
  };

  check(): void {
    if (this.dead) throw new Error('dead');
  }

  kill(): void {
    if (this.dead) return;
    this.dead = true;
    for (const each of this.died) each();
  }

  /** The same thing, as long as this life lasts. */
  of<T extends object>(thing: T): T {
    return new Proxy(thing, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value === 'function')
          return (...args: unknown[]) => {
            this.check();
            const given = name === 'transaction' ? [(tx: object) => (args[0] as (tx: object) => unknown)(this.of(tx))] : args;
            return Reflect.apply(value, target, given) as unknown;
          };
        return typeof value === 'object' && value !== null ? this.of(value) : value;
      },
    });
  }
}

export class ModelSite {
  readonly id: string;
  readonly store: Store;
  life = new Life();
  fleet = new FleetIndex(64);
  ownership!: Ownership;
  intake!: RunIntake;
  confirming!: Confirming;
  answers: readonly Answer[] = [];

  constructor(id: string, store: Store) {
    this.id = id;
    this.store = store;
  }

  /** Also after a death. */
  async start(): Promise<void> {
    await this.intake?.settle().catch(() => undefined);
    const life = new Life();
    const store = life.of(this.store);
    const authority = siteAuthority(this.id);
    const fleet = new FleetIndex(64);
    for await (const row of store.envoys.all()) fleet.load(row);
    const intake = new RunIntake({ fleet, store, clock: systemClock });
    const ownership = new Ownership({
      store,
      fleet,
      intake,
      trail: createTrail({ clock: systemClock, site: this.id, epoch: () => 1 }),
      clock: systemClock,
      identity: { ...authority, siteId: this.id, revocations: [] } as unknown as ServerIdentity,
      entryOf: () => -1,
      dropConnections: () => undefined,
    });
    await ownership.start();
    const moves = {
      ownership,
      store,
      clock: systemClock,
      log: quietLog(),
      random: Math.random,
      counts: () =>
        Promise.resolve({ owned: [...fleet.slots()].filter((slot) => !fleet.view(slot).revoked).length, pending: intake.pending }),
      push: () => Promise.resolve(0),
      failpoint: life.failpoint,
      retry: RETRY,
    };
    Object.assign(this, { life, fleet, ownership, intake, confirming: new Confirming(moves) });
    this.answers = [...moveAnswers(moves), ...rosterAnswers(this.#roster(life))];
  }

  #roster(life: Life) {
    return { store: life.of(this.store), epoch: () => 1, clock: systemClock, everyMs: 5 };
  }

  linked(hub: LinkSession): void {
    this.confirming.link(hub);
    watchRoster(this.#roster(this.life), hub);
  }

  async enrol(hostname: string): Promise<EnvoyId> {
    const envoy = {
      id: newId(systemClock.now()),
      hostname,
      identityKey: newSigningKey().publicKey,
      sealingKey: Buffer.alloc(32, 7),
      status: 'active' as const,
      ownerEpoch: 1,
      enrolledAt: systemClock.now(),
      certificateExpiresAt: 4_000_000_000_000,
      platform: 'linux/x64',
      agentVersion: '0.1.0',
      address: '192.0.2.1',
      labels: {},
      reason: '',
    };
    await this.store.envoys.insert(envoy);
    this.fleet.insert(envoy);
    return envoy.id;
  }
}

/** An agent as its server sees it: it checks in, follows grants that are newer than what it knows, and sends what it has. */
export class ModelAgent {
  readonly id: EnvoyId;
  readonly #history: MoveHistory;
  site: string;
  #epoch = 1;
  #queue: string[] = [];
  #made = 0;

  constructor(id: EnvoyId, site: string, history: MoveHistory) {
    this.id = id;
    this.site = site;
    this.#history = history;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  finishRun(): void {
    this.#made += 1;
    this.#queue.push(`run-${this.#made}`);
  }

  /** @param ackLost the site takes the results, and the agent never hears of it */
  async checkIn(site: ModelSite | undefined, fallback: () => Promise<SignedGrant | undefined>, ackLost: boolean): Promise<void> {
    if (site === undefined || site.life.dead) {
      const other = await fallback().catch(() => undefined);
      if (other !== undefined) this.#follow(other);
      return;
    }
    const { fleet, ownership, intake } = site;
    try {
      const slot = fleet.slotOf(this.id);
      const view = slot < 0 ? undefined : fleet.view(slot);
      if (view === undefined || !view.active || fleet.columns.ownerEpoch[slot]! < this.#epoch) {
        const redirect = await ownership.redirectOf(this.id);
        if (redirect !== undefined) {
          const { owner_epoch: epoch } = JSON.parse(redirect.record) as { owner_epoch: number };
          this.#history.add({ kind: 'led_away', envoy: this.id, site: site.id, epoch });
        }
        const grant = redirect ?? (await fallback());
        if (grant !== undefined) this.#follow(grant);
        return;
      }
      const epoch = fleet.columns.ownerEpoch[slot]!;
      const where = { envoy: this.id, site: site.id, epoch };
      this.#history.add({ kind: 'served', ...where });
      if ((view.flags & FLAG.arrived) !== 0) {
        Atomics.and(fleet.columns.flags, slot, ~FLAG.arrived);
        ownership.seen(slot);
      }
      this.#history.add({ kind: 'obeyed', ...where });
      this.#epoch = epoch;
      const sent = [...this.#queue];
      const reports = sent.map((run) => ({ subject: this.id, run_id: run, report: reportOf(run, epoch) }));
      const results = sent.length === 0 ? [] : await intake.take(slot, this.id, reports);
      if (ackLost) return;
      for (const [index, run] of sent.entries()) {
        if (results[index] !== 'accepted' && results[index] !== 'duplicate') continue;
        this.#history.add({ kind: 'reported', envoy: this.id, site: site.id, run });
        this.#queue = this.#queue.filter((waiting) => waiting !== run);
      }
    } catch {
      // the site died under this call: the agent comes again
    }
  }

  #follow(grant: SignedGrant): void {
    const { owner_epoch: epoch, site_id: site } = JSON.parse(grant.record) as { owner_epoch: number; site_id: string };
    if (epoch < this.#epoch) return;
    this.#epoch = epoch;
    this.site = site;
  }
}

function reportOf(run: string, epoch: number): Uint8Array {
  const report = {
    run_id: run,
    body_hash: 'aa',
    release: 1,
    owner_epoch: epoch,
    epoch: 1,
    seq: 1,
    started_at: 1,
    ended_at: 2,
    mode: 'enforce',
    flags: [],
    outcomes: [],
  };
  return Buffer.from(JSON.stringify(report));
}

export class ModelHub {
  readonly directory: string;
  readonly sites: readonly ModelSite[];
  readonly #states = new Map<string, string>();
  store: Store;
  life = new Life();
  roster!: Roster;
  mover!: Mover;
  batches!: Batches;
  #sessions = new Map<string, LinkSession>();

  constructor(directory: string, store: Store, sites: readonly ModelSite[]) {
    this.directory = directory;
    this.store = store;
    this.sites = sites;
  }

  session(id: string): LinkSession | undefined {
    const session = this.#sessions.get(id);
    return session?.isOpen === true ? session : undefined;
  }

  setState(id: string, state: string): void {
    this.#states.set(id, state);
  }

  site(id: string): MoveSite | undefined {
    if (!this.sites.some((each) => each.id === id)) return undefined;
    return { id, addr: `${id}:1530`, fallback: [], apiUrl: `https://${id}:8443`, state: this.#states.get(id) ?? 'active' };
  }

  /** Also after a death; the last life is over before. */
  async start(): Promise<void> {
    this.life.kill();
    const life = new Life();
    life.died.push(() => {
      for (const session of this.#sessions.values()) session.close('the hub died');
    });
    this.life = life;
    const shared = {
      store: life.of(this.store),
      trail: createTrail({ clock: systemClock, site: 'hub', epoch: () => 1 }),
      clock: systemClock,
      log: quietLog(),
      random: Math.random,
      sites: {
        list: () => this.sites.map(({ id }) => this.site(id)!),
        get: (id: string) => this.site(id),
        session: (id: string) => this.session(id),
      },
      authority: () => siteAuthority('hub'),
      revokedSerials: () => new Set<string>(),
      hubAddr: () => 'hub:1530',
      failpoint: life.failpoint,
      retry: RETRY,
    };
    this.roster = new Roster(shared);
    this.mover = new Mover({ ...shared, roster: this.roster });
    this.batches = new Batches({
      ...shared,
      sites: {
        ...shared.sites,
        change: async (id, { state }) => {
          life.check();
          this.setState(id, state);
        },
      },
      mover: this.mover,
      // the first that takes envoys
      route: (_hostname, without) => this.sites.find(({ id }) => !without.has(id) && this.site(id)?.state === 'active')?.id,
      defaultRate: '500/s',
      againMs: 20,
    });
    await this.mover.recover();
    await this.batches.resume();
  }

  /** The way to the owner, as the hub tells it to agents that ask. */
  async lookup(envoyId: EnvoyId): Promise<SignedGrant | undefined> {
    this.life.check();
    const row = await this.store.roster.byId(envoyId);
    return row === undefined ? undefined : grantIn(row);
  }

  /** A fresh link, if both ends live. */
  async link(site: ModelSite): Promise<void> {
    if (this.life.dead || site.life.dead) return;
    const { mover } = this;
    const [toSite, toHub] = pairedSessions(
      { siteId: 'hub', answers: [...this.roster.answers, ...mover.answers] },
      { siteId: site.id, answers: site.answers },
    );
    this.#sessions.get(site.id)?.close('a newer link');
    this.#sessions.set(site.id, toSite);
    site.life.died.push(() => toSite.close('the site died'));
    site.linked(toHub);
    try {
      await mover.sequence.meet(toSite);
      await mover.linked(toSite);
    } catch {
      toSite.close('its set-up failed');
    }
  }
}

export interface Moving {
  readonly hub: ModelHub;
  readonly sites: readonly ModelSite[];
  close(): Promise<void>;
}

export async function openMoving(ids: readonly string[]): Promise<Moving> {
  const directory = mkdtempSync(join(tmpdir(), 'vigo-moving-'));
  const open = (id: string) =>
    openDatabase({ driver: 'sqlite', path: join(directory, `${id}.db`), busyTimeoutMs: 1000, create: true }, systemClock.now());
  const sites: ModelSite[] = [];
  for (const id of ids) {
    const site = new ModelSite(id, await open(id));
    await site.start();
    sites.push(site);
  }
  const hub = new ModelHub(directory, await open('hub-of-all'), sites);
  await hub.start();
  return {
    hub,
    sites,
    close: async () => {
      hub.life.kill();
      for (const site of sites) {
        site.life.kill();
        await site.intake.settle().catch(() => undefined);
        await site.store.close();
      }
      await hub.store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
