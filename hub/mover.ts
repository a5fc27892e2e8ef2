/** Moves envoys between sites. Before COMMIT a move that meets trouble is undone; after it, it is carried on until every site has done its part. */
import { type Backoff, backoffMs } from '../core/base/backoff.ts';
import { CodedError, type ErrorCode, messageOf } from '../core/base/errors.ts';
import type { EnvoyId } from '../core/base/ids.ts';
import type { SignedGrant } from '../core/policy/ownership.ts';
import { type AtFailpoint, failpoint } from '../server/failpoints.ts';
import { noRuns } from '../server/fleet/convergence.ts';
import { type IdentityRecord, toVolatile } from '../server/spanner/identity-record.ts';
import {
  moveCommit,
  moveConfirm,
  moveDepart,
  moveExport,
  moveForget,
  moveLate,
  movePrepare,
  moveUndo,
} from '../server/spanner/kinds/moves.ts';
import { type Answer, answers, type LinkSession } from '../server/spanner/link.ts';
import { type MoveRow, STEP } from '../server/store/moves.ts';
import type { EnvoyVolatile } from '../server/store/store.ts';
import { HubSequence } from './hub-sequence.ts';
import { type Begin, MoveJournal } from './move-journal.ts';
import type { HubMoveParts, MoveSite } from './move-ports.ts';
import { grantIn, identityIn, type Roster } from './roster.ts';
import { Slots } from './slots.ts';

const RETRY = { firstMs: 500, maxMs: 60_000 };
/** What a site answers when it knows better than this step: a later move has done it. */
const SUPERSEDED: readonly ErrorCode[] = ['STALE_EPOCH'];

export interface MoverParts extends HubMoveParts {
  readonly roster: Roster;
  /** moves under way at once, default 64 */
  readonly inFlight?: number | undefined;
  /** between attempts at a step that fails */
  readonly retry?: Backoff | undefined;
}

interface Duty {
  readonly site: string;
  run(session: LinkSession): Promise<void>;
  /** instead, when the site is no member of the fleet any more */
  given(): Promise<void>;
}

export class Mover {
  readonly journal: MoveJournal;
  readonly sequence: HubSequence;
  readonly answers: readonly Answer[];
  readonly #parts: MoverParts;
  readonly #at: AtFailpoint;
  readonly #slots: Slots;
  /** one at a time drives a move; true: look once more when done */
  readonly #driving = new Map<string, boolean>();
  readonly #failures = new Map<string, number>();
  readonly #end = new AbortController();

  constructor(parts: MoverParts) {
    this.#parts = parts;
    this.#at = parts.failpoint ?? failpoint;
    this.#slots = new Slots(parts.inFlight ?? 64);
    this.sequence = new HubSequence(parts);
    this.journal = new MoveJournal(parts, this.sequence);
    this.answers = [
      answers(moveConfirm, async ({ envoy_id: id, owner_epoch: epoch }, { from }) => {
        for (const move of await this.journal.confirmed(id as EnvoyId, epoch, from)) this.#carryOn(move.id);
        return {};
      }),
    ];
  }

  /** Before links open: what was under way when the last process died. Moves that were not committed are undone. */
  async recover(): Promise<void> {
    for (const move of await this.#parts.store.moves.unfinished()) {
      if (move.phase === 'INTENT' || move.phase === 'READY')
        await this.journal.undone(move, 'SHUTTING_DOWN', 'the hub stopped before COMMIT');
      this.#carryOn(move.id);
    }
  }

  /** A step of every new link, after the roster was read. */
  async linked(session: LinkSession): Promise<void> {
    for (const move of await this.#parts.store.moves.listOfSite(session.siteId))
      if (move.phase !== 'INTENT' && move.phase !== 'READY') this.#carryOn(move.id);
  }

  /** Begins moves; they go on by themselves. @throws what the first one that cannot begin throws; those before it go on */
  async start(begins: readonly Begin[]): Promise<readonly MoveRow[]> {
    const moves = [];
    for (const begin of begins) {
      this.#assertTakes(begin.to);
      const move = await this.journal.intent(begin);
      moves.push(move);
      void this.#slots.with(() => this.#advance(move));
    }
    return moves;
  }

  /** One move, until it is undone, or committed and told to every site that can be reached. Waits for a free slot first. */
  move(begin: Begin): Promise<MoveRow> {
    return this.#slots.with(async () => {
      if (this.#end.signal.aborted) throw new CodedError('SHUTTING_DOWN', 'the hub is stopping');
      this.#assertTakes(begin.to);
      const move = await this.journal.intent(begin);
      await this.#advance(move);
      return (await this.#parts.store.moves.byId(move.id)) ?? move;
    });
  }

  /** Moves under way are left where they are: the journal knows. */
  async stop(): Promise<void> {
    this.#end.abort();
    await this.#slots.idle();
  }

  #assertTakes(siteId: string): void {
    const site = this.#parts.sites.get(siteId);
    if (site === undefined) throw new CodedError('NOT_FOUND', `no spoke ${siteId}`, { hint: 'vigocli spanner spoke list' });
    if (site.state !== 'active') throw new CodedError('SPOKE_DRAINING', `${siteId} is ${site.state} and takes no envoys`);
  }

  #session(siteId: string): LinkSession {
    const session = this.#parts.sites.session(siteId);
    if (session?.isOpen !== true || !this.sequence.hasMet(session))
      throw new CodedError('SPOKE_UNAVAILABLE', `${siteId} cannot be reached`);
    return session;
  }

  async #advance(move: MoveRow): Promise<void> {
    const { log } = this.#parts;
    if (this.#end.signal.aborted) return;
    try {
      let now = move;
      try {
        const record = await this.#record(move);
        this.#at('move.exported');
        await this.#prepare(move, record);
        this.#at('move.prepared');
        now = await this.journal.ready(move);
        now = await this.journal.commit(now);
      } catch (thrown) {
        if (this.#end.signal.aborted) return;
        const code = thrown instanceof CodedError ? thrown.code : 'INTERNAL';
        if (code === 'INTERNAL') log.error('a move failed', { move: move.id, error: thrown });
        // a commit whose answer was lost counts: the journal decides, not the error
        await this.journal.undone(now, code, messageOf(thrown));
      }
      await this.#drive(move.id);
    } catch (thrown) {
      // the journal itself cannot be written: the next link or start goes on from what it says
      if (!this.#end.signal.aborted) log.error('a move stands still', { move: move.id, error: messageOf(thrown) });
    }
  }

  /** What the target gets: the source's record, or what the hub itself knows when the source is given up. */
  async #record(move: Pick<MoveRow, 'envoyId' | 'source' | 'ownerEpoch' | 'forced' | 'hostname'>): Promise<IdentityRecord> {
    const { store } = this.#parts;
    const row = await store.roster.byId(move.envoyId);
    const identity = row === undefined ? undefined : identityIn(row);
    if (row === undefined || identity === undefined)
      throw new CodedError('NOT_FOUND', `the roster does not hold the keys of ${move.hostname}`);
    if (move.forced) {
      const grant = grantIn(row) ?? null;
      return { identity, owner_epoch: row.ownerEpoch, grant, volatile: toVolatile(neverSeen(move.envoyId)), traits: null, runs: [] };
    }
    const { record } = await this.#session(move.source).request(moveExport, { envoy_id: move.envoyId });
    const { envoy_id: envoyId, hostname, identity_key: key } = record.identity;
    // the hostname decides what it gets at the target: secrets of another one, if its source could choose
    if (envoyId !== move.envoyId || hostname !== row.hostname || key !== identity.identity_key)
      throw new CodedError('IDENTITY_MISMATCH', `${move.source} hands out another identity than it enrolled`);
    if (record.owner_epoch >= move.ownerEpoch) {
      // only a proof counts, and that one is in its roster
      throw new CodedError(
        'STALE_EPOCH',
        `${move.source} owns ${move.hostname} under epoch ${record.owner_epoch}, which this hub did not know`,
      );
    }
    return record;
  }

  async #prepare(move: MoveRow, record: IdentityRecord): Promise<void> {
    const session = this.#session(move.target);
    await this.journal.step(move.id, STEP.prepareSent);
    await session.request(movePrepare, { record, owner_epoch: move.ownerEpoch, hub_seq: await this.sequence.current() });
  }

  #carryOn(id: string): void {
    if (this.#end.signal.aborted) return;
    if (this.#driving.has(id)) this.#driving.set(id, true);
    else
      void this.#slots
        .with(() => this.#drive(id))
        .catch((thrown: unknown) => {
          if (!this.#end.signal.aborted) this.#parts.log.error('a move stands still', { move: id, error: messageOf(thrown) });
        });
  }

  /** Does what is due and possible; a site that cannot be reached is told at its next link, anything else is tried again later. */
  async #drive(id: string): Promise<void> {
    if (this.#driving.has(id)) {
      this.#driving.set(id, true);
      return;
    }
    try {
      do {
        this.#driving.set(id, false);
        await this.#round(id);
      } while (this.#driving.get(id) === true && !this.#end.signal.aborted);
      this.#failures.delete(id);
    } catch (thrown) {
      if (this.#end.signal.aborted) return;
      const { clock, log, random } = this.#parts;
      const code = thrown instanceof CodedError ? thrown.code : 'INTERNAL';
      log.warn('a move is delayed', { move: id, code, error: messageOf(thrown) });
      await this.journal.step(id, 0, { error: code, message: messageOf(thrown).slice(0, 300) });
      const failures = this.#failures.get(id) ?? 0;
      this.#failures.set(id, failures + 1);
      // the place among those under way is free meanwhile
      void clock.sleep(backoffMs(failures, this.#parts.retry ?? RETRY, random), this.#end.signal).then(() => this.#carryOn(id));
    } finally {
      this.#driving.delete(id);
    }
  }

  async #round(id: string): Promise<void> {
    const { store, sites } = this.#parts;
    const skipped = new Set<Duty['site']>();
    for (;;) {
      const move = await store.moves.byId(id);
      if (move === undefined || !move.unfinished) return;
      const duties = this.#duties(move);
      if (duties.length === 0) {
        if (move.phase === 'CONFIRMED' || move.phase === 'UNDONE') await this.journal.step(id, 0, { unfinished: false });
        return;
      }
      const duty = duties.find(({ site }) => !skipped.has(site));
      if (duty === undefined) return;
      const site = sites.get(duty.site);
      const session = sites.session(duty.site);
      if (site === undefined || site.state === 'removed') await duty.given();
      else if (session?.isOpen !== true || !this.sequence.hasMet(session)) skipped.add(duty.site);
      else await duty.run(session);
    }
  }

  /** In their order; none: it waits for the confirmation alone, or nothing is left. */
  #duties(move: MoveRow): readonly Duty[] {
    const { id, source, target, steps, envoyId, ownerEpoch } = move;
    const has = (bit: number) => (steps & bit) !== 0;
    const which = { envoy_id: envoyId, owner_epoch: ownerEpoch };
    const step = (bit: number) => this.journal.step(id, bit);
    if (move.phase === 'UNDONE') {
      if (!has(STEP.prepareSent) || has(STEP.undoAcked)) return [];
      const undo = async (session: LinkSession) => {
        await tolerant(session.request(moveUndo, which));
        await step(STEP.undoAcked);
        this.#at('move.undo.acked');
      };
      return [{ site: target, run: undo, given: () => step(STEP.undoAcked) }];
    }
    if (move.phase !== 'COMMITTED' && move.phase !== 'CONFIRMED') return [];
    const duties: Duty[] = [];
    if (!has(STEP.activated))
      duties.push({ site: target, run: (session) => this.#activate(move, session), given: () => step(STEP.activated) });
    if (!has(STEP.lateDelivered))
      duties.push({
        site: source,
        run: (session) => this.#handOver(move, session),
        given: () => step(STEP.departed | STEP.lateDelivered | STEP.forgotten),
      });
    if (move.phase === 'CONFIRMED' && has(STEP.lateDelivered) && !has(STEP.forgotten)) {
      const forget = async (session: LinkSession) => {
        await tolerant(session.request(moveForget, which));
        await step(STEP.forgotten);
        this.#at('move.forgotten');
      };
      duties.push({ site: source, run: forget, given: () => step(STEP.forgotten) });
    }
    return duties;
  }

  async #activate(move: MoveRow, session: LinkSession): Promise<void> {
    const body = { envoy_id: move.envoyId, grant: JSON.parse(move.grant) as SignedGrant, hub_seq: await this.sequence.current() };
    try {
      await tolerant(session.request(moveCommit, body));
    } catch (thrown) {
      if (!(thrown instanceof CodedError) || thrown.code !== 'NOT_FOUND') throw thrown;
      // the target lost what it had stored: it gets what the hub knows
      const record = await this.#record({ ...move, forced: true });
      await session.request(movePrepare, { record: { ...record, grant: null }, owner_epoch: move.ownerEpoch, hub_seq: body.hub_seq });
      await session.request(moveCommit, body);
    }
    await this.journal.step(move.id, STEP.activated, { error: '', message: '' });
    this.#at('move.target.activated');
  }

  async #handOver(move: MoveRow, session: LinkSession): Promise<void> {
    const { store, sites } = this.#parts;
    const grant = JSON.parse(move.grant) as SignedGrant;
    const answer = await tolerant(session.request(moveDepart, { envoy_id: move.envoyId, grant, hub_seq: await this.sequence.current() }));
    await this.journal.step(move.id, STEP.departed);
    this.#at('move.source.departed');
    const late = answer?.late ?? null;
    if (late !== null) {
      // it may have moved on since: what came late belongs to whoever owns it now
      const owner = await store.roster.byId(move.envoyId);
      const to: MoveSite['id'] = owner?.ownerSite ?? move.target;
      if (sites.get(to) !== undefined && to !== move.source)
        await this.#session(to).request(moveLate, { envoy_id: move.envoyId, owner_epoch: owner?.ownerEpoch ?? move.ownerEpoch, late });
    }
    await this.journal.step(move.id, STEP.lateDelivered, { error: '', message: '' });
    this.#at('move.late.delivered');
  }
}

/** What the hub itself does not know of an envoy. */
function neverSeen(id: EnvoyId): EnvoyVolatile {
  return {
    ...noRuns(),
    id,
    sequence: 0,
    lastSeen: 0,
    release: 0,
    policyHash: '',
    secretsEpoch: 0,
    heldSeq: 0,
    heldHeaderHash: '',
    traitsHash: '',
    flags: 0,
  };
}

/** A site that knows a later epoch has done this and more. */
async function tolerant<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (thrown) {
    if (thrown instanceof CodedError && SUPERSEDED.includes(thrown.code)) return undefined;
    throw thrown;
  }
}
