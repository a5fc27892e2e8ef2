/** Batches of moves: a drain empties a spoke, an evacuation gives a dead one's envoys to others, a reassignment moves whom it names. Whoever dies, they go on. */
import { CodedError, messageOf } from '../core/base/errors.ts';
import { type EnvoyId, newId } from '../core/base/ids.ts';
import { type Actor, SYSTEM } from '../server/audit/record.ts';
import { type AtFailpoint, failpoint } from '../server/failpoints.ts';
import type { DrainRow } from '../server/store/drains.ts';
import { STEP } from '../server/store/moves.ts';
import type { RosterRow } from '../server/store/roster.ts';
import type { Tables } from '../server/store/store.ts';
import { assertMayLeave, assertRouted } from './leaving.ts';
import type { HubMoveParts, MoveSites } from './move-ports.ts';
import type { Mover } from './mover.ts';
import { Pace, perSecond } from './pace.ts';

const PAGE = 500;
const IN_FLIGHT = 64;
/** between looks at what could not be moved, and at a spoke that is not empty yet */
const AGAIN_MS = 2_000;

export interface BatchParts extends HubMoveParts {
  readonly mover: Mover;
  readonly sites: MoveSites & {
    change(
      siteId: string,
      change: { state: 'active' | 'draining' | 'drained' | 'evacuated'; stateAt: number },
      tx?: Pick<Tables, 'sites'>,
    ): Promise<void>;
  };
  /** where a hostname belongs when these may not have it; undefined: nowhere */
  route(hostname: string, without: ReadonlySet<string>): string | undefined;
  /** `2%/min` */
  readonly defaultRate: string;
  readonly againMs?: number | undefined;
}

export interface Wanted {
  readonly kind: DrainRow['kind'];
  readonly site: string;
  readonly targets: readonly string[];
  readonly envoys?: readonly EnvoyId[] | undefined;
  readonly rate?: string | undefined;
  readonly deadlineMs?: number | undefined;
}

export interface Progress {
  readonly id: string;
  readonly kind: DrainRow['kind'];
  readonly site: string;
  readonly state: DrainRow['state'];
  readonly total: number;
  readonly moved: number;
  readonly confirmed: number;
  /** exact: who is not moved yet */
  readonly remaining: number;
  readonly failed: number;
  /** envoys a second */
  readonly rate: number;
  readonly eta_s: number | null;
  readonly error: string;
}

/** What a batch would do with one envoy. */
export interface Planned {
  readonly id: string;
  readonly hostname: string;
  readonly from: string;
  readonly to: string | null;
}

interface Running {
  readonly end: AbortController;
  readonly pace: Pace;
  readonly failed: Map<string, string>;
  done: Promise<void>;
}

const whole = (kind: DrainRow['kind']): boolean => kind === 'drain' || kind === 'evacuate';

export class Batches {
  readonly #parts: BatchParts;
  readonly #at: AtFailpoint;
  readonly #running = new Map<string, Running>();

  constructor(parts: BatchParts) {
    this.#parts = parts;
    this.#at = parts.failpoint ?? failpoint;
  }

  /** After a start of the hub. */
  async resume(): Promise<void> {
    for (const row of await this.#parts.store.drains.list({ state: 'running' }, 1000)) await this.#run(row);
  }

  async stop(): Promise<void> {
    const running = [...this.#running.values()];
    for (const { end } of running) end.abort();
    await Promise.all(running.map(({ done }) => done));
  }

  async *#ofSite(site: string): AsyncIterable<RosterRow> {
    for (let after = ''; ; ) {
      const rows = await this.#parts.store.roster.list({ site, after }, PAGE);
      yield* rows;
      if (rows.length < PAGE) return;
      after = rows.at(-1)!.envoyId;
    }
  }

  async *#envoysOf(row: Pick<DrainRow, 'kind' | 'site' | 'envoys'>): AsyncIterable<RosterRow> {
    if (whole(row.kind)) yield* this.#ofSite(row.site);
    else
      for (const id of row.envoys) {
        const envoy = await this.#parts.store.roster.byId(id as EnvoyId);
        if (envoy !== undefined && envoy.status !== 'removed') yield envoy;
      }
  }

  #targetOf({ targets }: Pick<DrainRow, 'targets'>, envoy: RosterRow): string | undefined {
    const { sites, route } = this.#parts;
    const open = targets.filter((id) => sites.get(id)?.state === 'active' && (targets.length === 1 || id !== envoy.ownerSite));
    if (targets.length === 0) return route(envoy.hostname, new Set([envoy.ownerSite]));
    if (open.length <= 1) return open[0];
    // among several the pattern decides, if it can
    const others = new Set(sites.list().flatMap(({ id }) => (open.includes(id) ? [] : [id])));
    return route(envoy.hostname, others) ?? open[Number.parseInt(envoy.envoyId.slice(-6), 16) % open.length];
  }

  /** What it would do now; nothing is changed. */
  async plan(wanted: Wanted): Promise<readonly Planned[]> {
    const planned: Planned[] = [];
    for await (const envoy of this.#envoysOf({ ...wanted, envoys: wanted.envoys ?? [] })) {
      const to = this.#targetOf(wanted, envoy);
      if (to === envoy.ownerSite) continue;
      planned.push({ id: envoy.envoyId, hostname: envoy.hostname, from: envoy.ownerSite, to: to ?? null });
    }
    return planned;
  }

  /** @throws CodedError NOT_FOUND, BAD_REQUEST, PRECONDITION_FAILED when the site is in another state, HUB_BEHIND */
  async begin(wanted: Wanted, actor: Actor, requestId: string): Promise<DrainRow> {
    const { store, trail, clock, sites, mover, defaultRate } = this.#parts;
    mover.sequence.assertCaughtUp();
    const rate = wanted.rate ?? defaultRate;
    perSecond(rate, 1);
    for (const id of wanted.targets) {
      const to = sites.get(id);
      if (to === undefined || to.state === 'removed')
        throw new CodedError('NOT_FOUND', `no spoke ${id}`, { hint: 'vigocli spanner spoke list' });
      if (to.state !== 'active') throw new CodedError('SPOKE_DRAINING', `${id} is ${to.state} and takes no envoys`);
      if (id === wanted.site && wanted.kind !== 'take_back') throw new CodedError('BAD_REQUEST', `${id} cannot take its own envoys`);
    }
    if (whole(wanted.kind)) {
      assertMayLeave(wanted, sites);
      assertRouted(wanted.site, await this.plan(wanted));
    }
    const total = whole(wanted.kind) ? await store.roster.count(wanted.site) : (wanted.envoys ?? []).length;
    const now = clock.now();
    const row: DrainRow = {
      id: newId(now),
      kind: wanted.kind,
      site: wanted.site,
      state: 'running',
      targets: wanted.targets,
      envoys: wanted.envoys ?? [],
      rate,
      deadlineAt: wanted.deadlineMs === undefined ? 0 : now + wanted.deadlineMs,
      actor: JSON.stringify(actor),
      total,
      createdAt: now,
      endedAt: 0,
      error: '',
    };
    // a drain that waits for a dead spoke would end later and call it drained: the fence would be gone
    const overtaken = row.kind === 'evacuate' ? await store.drains.list({ state: 'running', site: row.site }, 100) : [];
    await store.transaction(async (tx) => {
      for (const { id } of overtaken) await tx.drains.end(id, 'cancelled', now, '');
      if (whole(row.kind)) {
        await sites.change(row.site, { state: row.kind === 'drain' ? 'draining' : 'evacuated', stateAt: now }, tx);
        await trail.record(tx, {
          actor,
          event: row.kind === 'drain' ? 'spoke.drain' : 'spoke.evacuated',
          target: { kind: 'spoke', id: row.site },
          outcome: 'ok',
          requestId,
          data: { batch: row.id, envoys: total, to: [...row.targets], rate },
        });
      }
      await tx.drains.add(row);
    });
    for (const { id } of overtaken) this.#running.get(id)?.end.abort();
    this.#at('drain.started');
    await this.#run(row);
    return row;
  }

  /** Ends what runs for a site; what moves already is carried through. A drained one or one that drains serves again. */
  async cancel(site: string, actor: Actor, requestId: string): Promise<readonly string[]> {
    const { store, clock, sites, trail } = this.#parts;
    const running = await store.drains.list({ state: 'running', site }, 100);
    for (const row of running) {
      await store.drains.end(row.id, 'cancelled', clock.now(), '');
      this.#running.get(row.id)?.end.abort();
    }
    if (sites.get(site)?.state === 'draining') await this.#serveAgain(site, actor, requestId, trail);
    return running.map(({ id }) => id);
  }

  async #serveAgain(site: string, actor: Actor, requestId: string, trail: HubMoveParts['trail']): Promise<void> {
    const { store, sites, clock } = this.#parts;
    await store.transaction(async (tx) => {
      await sites.change(site, { state: 'active', stateAt: clock.now() }, tx);
      await trail.record(tx, { actor, event: 'spoke.undrain', target: { kind: 'spoke', id: site }, outcome: 'ok', requestId });
    });
  }

  /** The site takes envoys again; `takeBack` gives it those that its last drain gave away. @throws CodedError NOT_FOUND, PRECONDITION_FAILED */
  async undrain(site: string, takeBack: boolean, rate: string | undefined, actor: Actor, requestId: string): Promise<DrainRow | undefined> {
    const { store, sites, trail } = this.#parts;
    const now = sites.get(site);
    if (now === undefined || now.state === 'removed')
      throw new CodedError('NOT_FOUND', `no spoke ${site}`, { hint: 'vigocli spanner spoke list' });
    if (!['draining', 'drained', 'evacuated'].includes(now.state)) throw new CodedError('PRECONDITION_FAILED', `${site} is ${now.state}`);
    const last = (await store.drains.list({ site }, 20)).find(({ kind }) => whole(kind));
    await this.cancel(site, actor, requestId);
    if (sites.get(site)?.state !== 'active') await this.#serveAgain(site, actor, requestId, trail);
    if (!takeBack || last === undefined) return undefined;
    const given: EnvoyId[] = [];
    for (let before: string | undefined; ; ) {
      const moves = await store.moves.list({ job: last.id, before }, PAGE);
      for (const { phase, envoyId, target } of moves)
        if ((phase === 'COMMITTED' || phase === 'CONFIRMED') && (await store.roster.byId(envoyId))?.ownerSite === target)
          given.push(envoyId);
      if (moves.length < PAGE) break;
      before = moves.at(-1)!.id;
    }
    return this.begin({ kind: 'take_back', site, targets: [site], envoys: given, rate }, actor, requestId);
  }

  async progress(id: string): Promise<Progress> {
    const { store } = this.#parts;
    const row = await store.drains.byId(id);
    if (row === undefined) throw new CodedError('NOT_FOUND', `no batch ${id.slice(0, 40)}`);
    const running = this.#running.get(id);
    const counts = await store.moves.countByPhase(id);
    const moved = counts.COMMITTED + counts.CONFIRMED;
    const failed = running?.failed.size ?? (row.state === 'running' ? 0 : Math.max(0, row.total - moved));
    const remaining = whole(row.kind) ? await store.roster.count(row.site) : Math.max(0, row.total - moved);
    const rate = running?.pace.measured ?? 0;
    const { kind, site, state, total, error } = row;
    return {
      id,
      kind,
      site,
      state,
      total,
      moved,
      confirmed: counts.CONFIRMED,
      remaining,
      failed,
      rate: Math.round(rate * 100) / 100,
      // what cannot be moved now has no end that could be estimated
      eta_s:
        state !== 'running' || rate === 0 || (failed > 0 && failed >= remaining) ? null : Math.ceil(Math.max(0, remaining - failed) / rate),
      error,
    };
  }

  /** Its progress, at once and with every change, until it has ended. */
  async *watch(id: string, signal: AbortSignal): AsyncIterable<Progress> {
    for (let told = ''; !signal.aborted; ) {
      const now = await this.progress(id);
      const text = JSON.stringify({ ...now, rate: 0, eta_s: 0 });
      if (text !== told) yield now;
      told = text;
      if (now.state !== 'running') return;
      await this.#parts.clock.sleep(250, signal);
    }
  }

  async #run(row: DrainRow): Promise<void> {
    const { clock, random, store, log } = this.#parts;
    const rate = perSecond(row.rate, await store.roster.countAll());
    const running: Running = {
      end: new AbortController(),
      pace: new Pace(clock, random, rate),
      failed: new Map(),
      done: Promise.resolve(),
    };
    this.#running.set(row.id, running);
    running.done = this.#work(row, running)
      .catch(async (thrown: unknown) => {
        if (running.end.signal.aborted) return;
        log.error('a batch of moves stands still until the next start', { batch: row.id, error: messageOf(thrown) });
      })
      .finally(() => this.#running.delete(row.id));
  }

  async #work(row: DrainRow, running: Running): Promise<void> {
    const { store, clock } = this.#parts;
    const { signal } = running.end;
    while (!signal.aborted) {
      await this.#pass(row, running);
      if (signal.aborted) return;
      if (!whole(row.kind)) {
        const codes = [...running.failed.values()];
        await store.drains.end(row.id, codes.length > 0 ? 'failed' : 'done', clock.now(), codes[0] ?? '');
        return;
      }
      if (await this.#isEmpty(row)) {
        await this.#emptied(row);
        return;
      }
      await clock.sleep(this.#parts.againMs ?? AGAIN_MS, signal);
    }
  }

  /** Everybody that is left, each once. */
  async #pass(row: DrainRow, { end: { signal }, pace, failed }: Running): Promise<void> {
    const flying = new Set<Promise<void>>();
    const tried = whole(row.kind) ? new Set<string>() : await this.#triedBefore(row.id);
    for await (const envoy of this.#envoysOf(row)) {
      if (signal.aborted) break;
      const to = this.#targetOf(row, envoy);
      if (to === envoy.ownerSite || tried.has(envoy.envoyId)) continue;
      if (to === undefined) {
        failed.set(envoy.envoyId, 'NO_ROUTE');
        continue;
      }
      await pace.turn(signal);
      if (signal.aborted) break;
      this.#at('drain.batch.begun');
      const flight = this.#one(row, envoy, to, failed).finally(() => flying.delete(flight));
      flying.add(flight);
      if (flying.size >= IN_FLIGHT) await Promise.race(flying);
    }
    await Promise.all(flying);
  }

  /** A reassignment asks once; what the hub's own end cut off is no answer. */
  async #triedBefore(job: string): Promise<Set<string>> {
    const tried = new Set<string>();
    for (let before: string | undefined; ; ) {
      const moves = await this.#parts.store.moves.list({ job, before }, PAGE);
      for (const { envoyId, error } of moves) if (error !== 'SHUTTING_DOWN') tried.add(envoyId);
      if (moves.length < PAGE) return tried;
      before = moves.at(-1)!.id;
    }
  }

  async #one(row: DrainRow, envoy: RosterRow, to: string, failed: Map<string, string>): Promise<void> {
    try {
      const actor = JSON.parse(row.actor) as Actor;
      const move = await this.#parts.mover.move({ envoyId: envoy.envoyId, to, actor, job: row.id, forced: row.kind === 'evacuate' });
      if (move.phase === 'UNDONE') failed.set(envoy.envoyId, move.error);
      else failed.delete(envoy.envoyId);
    } catch (thrown) {
      failed.set(envoy.envoyId, thrown instanceof CodedError ? thrown.code : 'INTERNAL');
    }
  }

  /** Observed, not asserted: the roster names nobody, all of it was handed over, and the spoke says so itself. */
  async #isEmpty({ kind, site }: DrainRow): Promise<boolean> {
    const { store, sites, mover } = this.#parts;
    if ((await store.roster.count(site)) > 0) return false;
    if (kind === 'evacuate') return true;
    const open = await store.moves.listOfSite(site);
    if (open.some(({ source, phase, steps }) => source === site && phase !== 'UNDONE' && (steps & STEP.lateDelivered) === 0)) return false;
    const session = sites.session(site);
    if (session === undefined) return false;
    try {
      const { owned, pending } = await mover.sequence.state(session);
      return owned === 0 && pending === 0;
    } catch {
      // it cannot be asked now: it is asked again
      return false;
    }
  }

  async #emptied(row: DrainRow): Promise<void> {
    const { store, sites, clock, trail } = this.#parts;
    this.#at('drain.drained.before');
    const now = clock.now();
    await store.transaction(async (tx) => {
      if (!(await tx.drains.end(row.id, 'done', now, ''))) return;
      if (row.kind !== 'drain') return;
      await sites.change(row.site, { state: 'drained', stateAt: now }, tx);
      await trail.record(tx, {
        actor: SYSTEM,
        event: 'spoke.changed',
        target: { kind: 'spoke', id: row.site },
        outcome: 'ok',
        data: { state: 'drained', batch: row.id },
      });
    });
    this.#at('drain.drained.written');
  }
}
