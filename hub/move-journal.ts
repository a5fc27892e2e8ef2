/** The durable steps of a move: each one transaction with its audit record; which phases may follow which is decided here alone. */
import { CodedError } from '../core/base/errors.ts';
import { type EnvoyId, newId } from '../core/base/ids.ts';
import { signGrant } from '../core/policy/ownership.ts';
import { type Actor, SYSTEM } from '../server/audit/record.ts';
import { type AtFailpoint, failpoint } from '../server/failpoints.ts';
import { type MoveRow, STEP } from '../server/store/moves.ts';
import type { RosterRow } from '../server/store/roster.ts';
import type { Tables } from '../server/store/store.ts';
import type { HubSequence } from './hub-sequence.ts';
import type { HubMoveParts } from './move-ports.ts';
import type { Roster } from './roster.ts';

export interface Begin {
  readonly envoyId: EnvoyId;
  readonly to: string;
  readonly actor: Actor;
  readonly requestId?: string | undefined;
  /** of the batch it belongs to */
  readonly job?: string | undefined;
  /** from the hub's copy, without the source */
  readonly forced?: boolean | undefined;
}

export interface JournalParts extends HubMoveParts {
  readonly roster: Pick<Roster, 'writing'>;
}

/** An earlier move that only waits to be seen at its new site does not hold the next one back. */
function blocks(move: MoveRow): boolean {
  if (!move.unfinished || move.phase === 'CONFIRMED' || move.phase === 'UNDONE') return false;
  return move.phase !== 'COMMITTED' || (move.steps & STEP.activated) === 0;
}

function isGone({ status }: RosterRow): boolean {
  return status === 'removed' || status === 'revoked';
}

export class MoveJournal {
  readonly #parts: JournalParts;
  readonly #sequence: HubSequence;
  readonly #at: AtFailpoint;
  readonly #listeners: ((move: MoveRow) => void)[] = [];

  constructor(parts: JournalParts, sequence: HubSequence) {
    this.#parts = parts;
    this.#sequence = sequence;
    this.#at = parts.failpoint ?? failpoint;
  }

  /** called after every change of a phase */
  onPhase(listener: (move: MoveRow) => void): void {
    this.#listeners.push(listener);
  }

  #said(move: MoveRow): MoveRow {
    this.#parts.metrics?.count('vigo_moves_total', 1, { phase: move.phase });
    if (move.phase === 'CONFIRMED') this.#parts.metrics?.observe('vigo_move_seconds', (move.endedAt - move.createdAt) / 1000);
    for (const listener of this.#listeners) listener(move);
    return move;
  }

  async #audit(tx: Tables, event: string, move: MoveRow, actor: Actor = SYSTEM, requestId = ''): Promise<void> {
    await this.#parts.trail.record(tx, {
      actor,
      event,
      target: { kind: 'envoy', id: move.envoyId, name: move.hostname },
      outcome: event === 'envoy.move_undone' ? 'failed' : 'ok',
      requestId,
      data: {
        move: move.id,
        from: move.source,
        to: move.target,
        owner_epoch: move.ownerEpoch,
        ...(move.job === '' ? {} : { job: move.job }),
        ...(move.forced ? { forced: true } : {}),
        ...(move.error === '' ? {} : { error: move.error }),
      },
    });
  }

  /** INTENT. @throws CodedError NOT_FOUND, MOVE_CONFLICT, HUB_BEHIND, ALREADY_EXISTS when it is there already */
  async intent(begin: Begin): Promise<MoveRow> {
    const { roster, clock } = this.#parts;
    this.#at('move.intent.before');
    const now = clock.now();
    const move = await roster.writing.transaction(async (tx) => {
      this.#sequence.assertCaughtUp();
      const row = await tx.roster.byId(begin.envoyId);
      if (row === undefined || isGone(row)) throw new CodedError('NOT_FOUND', `no live envoy ${begin.envoyId} in the roster`);
      if (row.ownerSite === begin.to) throw new CodedError('ALREADY_EXISTS', `${row.hostname} is at ${begin.to} already`);
      const before = await tx.moves.listOfEnvoy(begin.envoyId);
      const open = before.find(blocks);
      if (open !== undefined)
        throw new CodedError('MOVE_CONFLICT', `${row.hostname} is moving to ${open.target} already`, {
          hint: 'vigocli spanner moves --open',
        });
      const given = Math.max(
        row.highestEpoch,
        row.ownerEpoch,
        await this.#sequence.floor(tx),
        ...before.map(({ ownerEpoch }) => ownerEpoch),
      );
      const intent: MoveRow = {
        id: newId(now),
        envoyId: begin.envoyId,
        hostname: row.hostname,
        source: row.ownerSite,
        target: begin.to,
        ownerEpoch: given + 1,
        phase: 'INTENT',
        job: begin.job ?? '',
        forced: begin.forced === true,
        grant: '',
        steps: 0,
        error: '',
        message: '',
        createdAt: now,
        committedAt: 0,
        endedAt: 0,
        unfinished: true,
      };
      await tx.moves.add(intent);
      await tx.roster.raise(begin.envoyId, intent.ownerEpoch);
      await this.#audit(tx, 'envoy.move_intent', intent, begin.actor, begin.requestId);
      return intent;
    });
    this.#at('move.intent.written');
    return this.#said(move);
  }

  /** READY: the target has stored all of it. */
  async ready(move: MoveRow): Promise<MoveRow> {
    if (!(await this.#parts.store.moves.update(move.id, { phase: 'READY' }, ['INTENT'])))
      throw new CodedError('MOVE_CONFLICT', 'the move was undone meanwhile');
    this.#at('move.ready.written');
    return this.#said({ ...move, phase: 'READY' });
  }

  /** COMMIT: from here on the target owns the envoy, whoever dies. */
  async commit(move: MoveRow): Promise<MoveRow> {
    const { roster, clock, sites, authority, hubAddr } = this.#parts;
    this.#at('move.commit.before');
    const committed = await roster.writing.transaction(async (tx) => {
      this.#sequence.assertCaughtUp();
      const [row, site] = [await tx.roster.byId(move.envoyId), sites.get(move.target)];
      if (site === undefined) throw new CodedError('NOT_FOUND', `no site ${move.target}`);
      if (row === undefined || row.ownerSite !== move.source || row.ownerEpoch >= move.ownerEpoch || isGone(row))
        throw new CodedError('STALE_EPOCH', `${move.hostname} is not at ${move.source} any more`);
      const keys = authority();
      const signed = signGrant(keys, {
        fleet_id: keys.fleetId,
        envoy_id: move.envoyId,
        site_id: site.id,
        owner_epoch: move.ownerEpoch,
        servers: [site.addr],
        fallback_servers: [...new Set([...site.fallback, hubAddr()])].filter((server) => server !== '' && server !== site.addr),
        api_url: site.apiUrl,
        issued_at: clock.now(),
      });
      const grant = JSON.stringify(signed);
      const next: MoveRow = { ...move, phase: 'COMMITTED', grant, committedAt: clock.now(), error: '', message: '' };
      const { phase, committedAt, error, message } = next;
      if (!(await tx.moves.update(move.id, { phase, grant, committedAt, error, message }, ['READY'])))
        throw new CodedError('MOVE_CONFLICT', 'the move was undone meanwhile');
      await tx.roster.put({
        ...row,
        ownerSite: site.id,
        ownerEpoch: move.ownerEpoch,
        highestEpoch: Math.max(row.highestEpoch, move.ownerEpoch),
        grant,
      });
      await this.#sequence.next(tx);
      await this.#audit(tx, 'envoy.move_committed', next);
      return next;
    });
    this.#at('move.commit.written');
    return this.#said(committed);
  }

  /** UNDONE, unless it was committed meanwhile: then nothing happens. */
  async undone(move: MoveRow, code: string, message: string): Promise<MoveRow | undefined> {
    const { store, clock } = this.#parts;
    const row = await store.transaction(async (tx) => {
      const now = await tx.moves.byId(move.id);
      if (now === undefined) return undefined;
      const prepared = (now.steps & STEP.prepareSent) !== 0;
      const next: MoveRow = {
        ...now,
        phase: 'UNDONE',
        error: code,
        message: message.slice(0, 300),
        endedAt: clock.now(),
        unfinished: prepared,
      };
      const { phase, error, endedAt, unfinished } = next;
      if (!(await tx.moves.update(move.id, { phase, error, message: next.message, endedAt, unfinished }, ['INTENT', 'READY'])))
        return undefined;
      await this.#audit(tx, 'envoy.move_undone', next);
      return next;
    });
    if (row === undefined) return undefined;
    this.#at('move.undone.written');
    return this.#said(row);
  }

  /**
   * The envoy was seen at a site under an epoch: that move, and every older one of it, is done.
   * @throws CodedError HUB_BEHIND for an epoch this hub has not given out as far as it knows, STALE_EPOCH for a site that does not own the envoy
   */
  async confirmed(envoyId: EnvoyId, ownerEpoch: number, siteId: string): Promise<readonly MoveRow[]> {
    const { roster, clock } = this.#parts;
    this.#at('move.confirmed.before');
    const rows = await roster.writing.transaction(async (tx) => {
      const owner = await tx.roster.byId(envoyId);
      if (owner === undefined || owner.ownerEpoch < ownerEpoch)
        throw new CodedError('HUB_BEHIND', `this hub does not know epoch ${ownerEpoch} of ${envoyId} yet`);
      const moves = await tx.moves.listOfEnvoy(envoyId);
      const here = moves.find((move) => move.ownerEpoch === ownerEpoch);
      if (here !== undefined ? here.target !== siteId : owner.ownerEpoch === ownerEpoch && owner.ownerSite !== siteId)
        throw new CodedError('STALE_EPOCH', `${siteId} does not own ${envoyId} under epoch ${ownerEpoch}`);
      const done: MoveRow[] = [];
      for (const move of moves) {
        // a hub that was put back has undone what another life of it committed
        const revived = move === here && move.phase === 'UNDONE' && owner.ownerEpoch === ownerEpoch && owner.grant !== '';
        if (move.ownerEpoch > ownerEpoch || (move.phase !== 'COMMITTED' && !revived)) continue;
        const next: MoveRow = {
          ...move,
          phase: 'CONFIRMED',
          grant: revived ? owner.grant : move.grant,
          error: '',
          message: '',
          endedAt: clock.now(),
          unfinished: true,
        };
        const { phase, grant, error, message, endedAt, unfinished } = next;
        await tx.moves.update(move.id, { phase, grant, error, message, endedAt, unfinished }, ['COMMITTED', 'UNDONE']);
        if (move === here) await tx.moves.mark(move.id, STEP.activated);
        await this.#audit(tx, 'envoy.move_confirmed', next);
        done.push(next);
      }
      return done;
    });
    this.#at('move.confirmed.written');
    return rows.map((row) => this.#said(row));
  }

  /** A duty is done, in whatever phase the move is by now. */
  step(id: string, bits: number, more: Pick<Partial<MoveRow>, 'error' | 'message' | 'unfinished'> = {}): Promise<void> {
    return this.#parts.store.moves.mark(id, bits, more);
  }
}
