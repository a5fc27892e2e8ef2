/** Envoys that come to this site and leave it. Every step is one transaction, may be repeated, and is known by (envoy, owner epoch): after a crash the store alone decides. */
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { EnvoyId } from '../../core/base/ids.ts';
import { openRevocation } from '../../core/crypto/delegation.ts';
import { requireAcceptablePublicKey } from '../../core/crypto/ed25519.ts';
import { type Grant, openGrant, type SignedGrant } from '../../core/policy/ownership.ts';
import { SYSTEM } from '../audit/record.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import {
  fromTravelling,
  fromVolatile,
  type IdentityRecord,
  identityRecordSchema,
  identitySchema,
  type Late,
  toStoredRun,
  toTravelling,
  toVolatile,
} from '../spanner/identity-record.ts';
import type { EnvoyRow, Store, Tables } from '../store/store.ts';
import type { FleetIndex } from './fleet-index.ts';
import type { RunIntake } from './run-intake.ts';

/** What an agent may not have heard the acknowledgement of. */
const RUNS_THAT_TRAVEL = 20;
const FENCED = 'fenced';
const HUB_STATE = 'hub_state';

const LEAVING: ReadonlySet<string> = new Set(['draining', 'drained', 'evacuated', 'removed']);

export interface Confirmation {
  readonly envoyId: EnvoyId;
  readonly ownerEpoch: number;
}

export interface OwnershipParts {
  readonly store: Store;
  readonly fleet: FleetIndex;
  readonly intake: RunIntake;
  readonly trail: AuditTrail;
  readonly clock: Clock;
  readonly identity: ServerIdentity;
  /** index of the live entry of a hostname, -1 without one */
  entryOf(hostname: string): number;
  dropConnections(envoyId: string): void;
}

export class Ownership {
  readonly #parts: OwnershipParts;
  readonly #listeners = new Set<(confirmation: Confirmation) => void>();
  /** host names that are prepared: nobody else may enrol by them */
  readonly #announced = new Map<EnvoyId, string>();
  /** what the hub said last of this site; nothing at a site without one */
  #hubState = '';
  /** a hub knows more than its own site */
  lookup: ((envoyId: EnvoyId) => Promise<SignedGrant | undefined>) | undefined;

  constructor(parts: OwnershipParts) {
    this.#parts = parts;
  }

  /** Once the fleet index is loaded. */
  async start(): Promise<void> {
    const { store, fleet } = this.#parts;
    fleet.fenced = (await store.ownerships.fact(FENCED)) === 'true';
    this.#hubState = (await store.ownerships.fact(HUB_STATE)) ?? '';
    for (const { envoyId, record } of await store.ownerships.inState('arriving'))
      this.#announced.set(envoyId, identityRecordSchema.parse(JSON.parse(record)).identity.hostname);
    for (const { envoyId } of await store.ownerships.inState('arrived')) {
      const slot = fleet.slotOf(envoyId);
      if (slot >= 0) fleet.arrive(slot);
    }
  }

  #open(signed: SignedGrant): Grant {
    const { rootPublicKey, fleetId, revocations } = this.#parts.identity;
    const revokedSerials = new Set(revocations.map((record) => openRevocation(rootPublicKey, record).serial));
    return openGrant(signed, { rootPublicKey, fleetId, revokedSerials });
  }

  /** The envoy as it is now; this site stays its owner. @throws CodedError NOT_FOUND when it is not ours */
  async export(envoyId: EnvoyId): Promise<IdentityRecord> {
    const { store, fleet } = this.#parts;
    const slot = fleet.slotOf(envoyId);
    const row = await store.envoys.byId(envoyId);
    if (row === undefined || slot < 0 || row.status === 'departed') throw new CodedError('NOT_FOUND', `this site does not own ${envoyId}`);
    const held = await store.ownerships.of(envoyId);
    const traits = await store.traits.of(envoyId);
    return {
      identity: toTravelling(row),
      owner_epoch: row.ownerEpoch,
      grant: held === undefined || held.grant === '' ? null : (JSON.parse(held.grant) as SignedGrant),
      volatile: toVolatile(fleet.view(slot)),
      traits: traits === undefined ? null : { hash: traits.hash, traits: traits.traits as never },
      runs: await this.#newestRuns(store, envoyId),
    };
  }

  async #newestRuns(tx: Tables, envoyId: EnvoyId): Promise<Late['runs']> {
    return (await tx.runs.newest(envoyId, RUNS_THAT_TRAVEL)).map(({ receivedAt, report }) => ({ received_at: receivedAt, report }));
  }

  /**
   * Keeps the record until the hub has decided. @throws CodedError STALE_EPOCH when a higher epoch is known here, HOSTNAME_TAKEN when another envoy of that name is live
   * here, WEAK_KEY
   */
  async prepare(record: IdentityRecord, ownerEpoch: number): Promise<void> {
    const { store, clock } = this.#parts;
    const identity = fromTravelling(record.identity, ownerEpoch);
    requireAcceptablePublicKey(identity.identityKey);
    this.#announced.set(identity.id, identity.hostname);
    await store.transaction(async (tx) => {
      const [row, held, named] = [
        await tx.envoys.byId(identity.id),
        await tx.ownerships.of(identity.id),
        await tx.envoys.byHostname(identity.hostname),
      ];
      const ours = row === undefined || row.status === 'departed' ? 0 : row.ownerEpoch;
      if (held?.ownerEpoch === ownerEpoch && held.state !== 'departed') return;
      if (Math.max(ours, held?.ownerEpoch ?? 0) >= ownerEpoch)
        throw new CodedError('STALE_EPOCH', `a higher owner epoch than ${ownerEpoch} is known here`);
      if (named !== undefined && named.id !== identity.id && named.status === 'active')
        throw new CodedError('HOSTNAME_TAKEN', `another live envoy of this site is called ${identity.hostname}`);
      // the grant of a former departure still leads away until the hub has decided
      const grant = held?.state === 'departed' || held?.state === 'arriving' ? held.grant : '';
      await tx.ownerships.put({
        envoyId: identity.id,
        state: 'arriving',
        ownerEpoch,
        grant,
        record: JSON.stringify(record),
        at: clock.now(),
      });
    });
  }

  /** An envoy of this name is on its way here. */
  announces(hostname: string): boolean {
    return [...this.#announced.values()].includes(hostname);
  }

  /** From here on this site serves the envoy. @throws CodedError NOT_FOUND when it was not prepared, STALE_EPOCH, BUNDLE_REJECTED for a grant that does not hold */
  async activate(envoyId: EnvoyId, signed: SignedGrant): Promise<void> {
    const { store, fleet, trail, clock, identity: own } = this.#parts;
    const grant = this.#open(signed);
    if (grant.envoy_id !== envoyId || grant.site_id !== own.siteId)
      throw new CodedError('BUNDLE_REJECTED', `the grant is for ${grant.envoy_id} at ${grant.site_id}`);
    const arrived = await store.transaction(async (tx) => {
      const held = await tx.ownerships.of(envoyId);
      if (held === undefined) throw new CodedError('NOT_FOUND', `${envoyId} was not announced here`);
      if (held.ownerEpoch > grant.owner_epoch) throw new CodedError('STALE_EPOCH', `owner epoch ${held.ownerEpoch} is known here`);
      if (held.state !== 'arriving' || held.ownerEpoch !== grant.owner_epoch) {
        if (held.ownerEpoch === grant.owner_epoch) return undefined;
        throw new CodedError('NOT_FOUND', `${envoyId} was not announced here with owner epoch ${grant.owner_epoch}`);
      }
      const record = identityRecordSchema.parse(JSON.parse(held.record));
      const row = await this.#adopt(tx, record, grant.owner_epoch);
      await tx.ownerships.put({ ...held, state: 'arrived', grant: JSON.stringify(signed), record: '', at: clock.now() });
      await trail.record(tx, {
        actor: SYSTEM,
        event: 'envoy.move_committed',
        target: { kind: 'envoy', id: envoyId, name: row.hostname },
        outcome: 'ok',
        data: { to: own.siteId, owner_epoch: grant.owner_epoch },
      });
      return row;
    });
    this.#announced.delete(envoyId);
    if (arrived === undefined) return;
    fleet.load(arrived);
    const slot = fleet.slotOf(envoyId);
    fleet.arrive(slot);
    fleet.assignEntry(slot, this.#parts.entryOf(arrived.hostname));
  }

  /** What was somewhere else, or here before, is a live row here. */
  async #adopt(tx: Tables, record: IdentityRecord, ownerEpoch: number): Promise<EnvoyRow> {
    const identity = fromTravelling(record.identity, ownerEpoch);
    const { id, identityKey: _key, hostname: _name, ...rest } = identity;
    const named = identity.status === 'active' ? await tx.envoys.byHostname(identity.hostname) : undefined;
    // two that enrolled by one name while their sites were apart: the one that moves is the older, the other waits for a person
    if (named?.status === 'active' && named.id !== id)
      await tx.envoys.setStatus(named.id, 'pending', `another envoy of this name, ${id}, moved here: approve one, revoke the other`);
    if (!(await tx.envoys.update(id, rest))) await tx.envoys.insert(identity);
    const hash = record.traits?.hash ?? '';
    if (record.traits !== null) await tx.traits.mergeBatch([{ envoyId: id, hash, full: true, set: record.traits.traits, removed: [] }]);
    // sequences only grow, also those that were seen here before
    const before = await tx.envoys.byId(id);
    const volatile = fromVolatile(id, record.volatile, hash);
    await tx.envoys.saveBatch([{ ...volatile, sequence: Math.max(volatile.sequence, before?.sequence ?? 0) }]);
    // oldest first: lists show what came last as the newest
    await tx.runs.appendBatch(record.runs.toReversed().map((run) => toStoredRun(id, identity.hostname, run)));
    return (await tx.envoys.byId(id))!;
  }

  /** Not ours any more: from now on agents are led to the owner. Answers what came since the copy. @throws CodedError STALE_EPOCH, BUNDLE_REJECTED */
  async depart(envoyId: EnvoyId, signed: SignedGrant): Promise<Late> {
    const { store, fleet, intake, trail, clock, identity: own } = this.#parts;
    const grant = this.#open(signed);
    if (grant.envoy_id !== envoyId || grant.site_id === own.siteId)
      throw new CodedError('BUNDLE_REJECTED', `the grant is for ${grant.envoy_id} at ${grant.site_id}`);
    const slot = fleet.slotOf(envoyId);
    const known = await store.ownerships.of(envoyId);
    const highest = Math.max(known?.ownerEpoch ?? 0, slot < 0 ? 0 : fleet.columns.ownerEpoch[slot]!);
    if (highest > grant.owner_epoch) throw new CodedError('STALE_EPOCH', `a higher owner epoch than ${grant.owner_epoch} is known here`);
    if (highest === grant.owner_epoch && known?.state !== 'departed' && slot >= 0 && !fleet.view(slot).departed)
      throw new CodedError('BUNDLE_REJECTED', `two grants of owner epoch ${highest}: this site owns the envoy by one of them`);
    if (slot >= 0) fleet.depart(slot);
    // reports that were taken before this moment become durable, later ones are redirected
    await intake.settle();
    intake.forget(slot);
    const volatile = slot < 0 ? null : toVolatile(fleet.view(slot));
    const identity = await store.transaction(async (tx) => {
      const held = await tx.ownerships.of(envoyId);
      const row = await tx.envoys.byId(envoyId);
      // said again: what it was when it left stands in the tombstone
      if (held?.state === 'departed' && held.ownerEpoch === grant.owner_epoch)
        return held.record === '' ? null : identitySchema.parse(JSON.parse(held.record));
      const left = row === undefined ? null : toTravelling(row);
      await tx.envoys.setStatus(envoyId, 'departed', `owned by ${grant.site_id}`);
      await tx.ownerships.put({
        envoyId,
        state: 'departed',
        ownerEpoch: grant.owner_epoch,
        grant: JSON.stringify(signed),
        record: left === null ? '' : JSON.stringify(left),
        at: clock.now(),
      });
      if (slot >= 0)
        await trail.record(tx, {
          actor: SYSTEM,
          event: 'envoy.move_committed',
          target: { kind: 'envoy', id: envoyId, name: fleet.hostname(slot) },
          outcome: 'ok',
          data: { from: own.siteId, to: grant.site_id, owner_epoch: grant.owner_epoch },
        });
      return left;
    });
    return { identity, volatile, runs: await this.#newestRuns(store, envoyId) };
  }

  /** What the former owner took after the copy, and what became of the envoy there. */
  async late(envoyId: EnvoyId, late: Late): Promise<void> {
    const { store, fleet } = this.#parts;
    const slot = fleet.slotOf(envoyId);
    if (slot < 0) return;
    const { identity, volatile } = late;
    if (volatile !== null) {
      fleet.raiseSequence(slot, volatile.sequence);
      // until it has been seen here, what the former owner saw last is the newest
      if (fleet.hasArrived(slot)) fleet.setConvergence(slot, fromVolatile(envoyId, volatile, ''));
    }
    const changed = identity === null ? undefined : fromTravelling(identity, 0);
    await store.transaction(async (tx) => {
      await tx.runs.appendBatch(late.runs.toReversed().map((run) => toStoredRun(envoyId, fleet.hostname(slot), run)));
      await tx.envoys.saveBatch([fleet.view(slot)]);
      if (changed === undefined) return;
      const { sealingKey, labels, certificateExpiresAt } = changed;
      await tx.envoys.update(envoyId, { sealingKey, labels, certificateExpiresAt });
      if (changed.status === 'revoked') await tx.envoys.setStatus(envoyId, 'revoked', changed.reason);
    });
    if (changed?.status !== 'revoked') return;
    fleet.revoke(slot);
    this.#parts.dropConnections(envoyId);
  }

  /** The hub took the move back. */
  async undo(envoyId: EnvoyId, ownerEpoch: number): Promise<void> {
    this.#announced.delete(envoyId);
    await this.#parts.store.transaction(async (tx) => {
      const held = await tx.ownerships.of(envoyId);
      if (held?.state !== 'arriving' || held.ownerEpoch !== ownerEpoch) return;
      // it had left before: the grant of that time leads on
      if (held.grant === '') await tx.ownerships.remove(envoyId);
      else {
        const { owner_epoch: former } = JSON.parse((JSON.parse(held.grant) as SignedGrant).record) as Grant;
        await tx.ownerships.put({ ...held, state: 'departed', ownerEpoch: former, record: '' });
      }
    });
  }

  /** The new owner has seen it: nothing stays but the grant, for agents that come late. */
  async forget(envoyId: EnvoyId, ownerEpoch: number): Promise<void> {
    await this.#parts.store.transaction(async (tx) => {
      const held = await tx.ownerships.of(envoyId);
      if (held?.state !== 'departed' || held.ownerEpoch !== ownerEpoch) return;
      await tx.traits.remove(envoyId);
      await tx.envoys.remove(envoyId);
    });
    this.#parts.dropConnections(envoyId);
  }

  /** While fenced this site serves nobody: its envoys were given to others in its absence. */
  async fence(on: boolean): Promise<void> {
    const { fleet, store } = this.#parts;
    fleet.fenced = on;
    await store.ownerships.setFact(FENCED, String(on));
  }

  /** The hub says how this site stands; kept, so that a restart without the hub does not take envoys again. */
  async beTold(state: string): Promise<void> {
    if (state === this.#hubState) return;
    this.#hubState = state;
    await this.#parts.store.ownerships.setFact(HUB_STATE, state);
  }

  /** Why nobody may enrol here: the hub empties this site, or has. */
  get leaving(): string | undefined {
    return LEAVING.has(this.#hubState) ? this.#hubState : undefined;
  }

  get isFenced(): boolean {
    return this.#parts.fleet.fenced;
  }

  /**
   * The way to the owner of an envoy that is not ours. For a request that was meant for another site, that may be ourselves: the agent has not heard yet.
   */
  async redirectOf(envoyId: EnvoyId, wrongAudience = false): Promise<SignedGrant | undefined> {
    const held = await this.#parts.store.ownerships.of(envoyId);
    const leadsAway = held?.state === 'departed' || held?.state === 'arriving';
    if (held !== undefined && held.grant !== '' && (leadsAway || wrongAudience)) return JSON.parse(held.grant) as SignedGrant;
    return this.lookup?.(envoyId);
  }

  /** A refusal with the way to the owner, when it is known: for requests that no accepting thread has seen. */
  async withOwner(refusal: unknown, envoyId: EnvoyId): Promise<unknown> {
    if (!(refusal instanceof CodedError) || !['REDIRECT', 'RETRY_ELSEWHERE', 'WRONG_AUDIENCE'].includes(refusal.code)) return refusal;
    const redirect = await this.redirectOf(envoyId, refusal.code === 'WRONG_AUDIENCE');
    if (redirect === undefined) return refusal.code === 'REDIRECT' ? new CodedError('RETRY_ELSEWHERE', refusal.message) : refusal;
    return new CodedError(refusal.code === 'WRONG_AUDIENCE' ? 'WRONG_AUDIENCE' : 'REDIRECT', refusal.message, { details: { redirect } });
  }

  /** The highest owner epoch that this site has seen of any envoy. */
  highestEpoch(): Promise<number> {
    return this.#parts.store.ownerships.highestEpoch();
  }

  /** An accepting thread saw the first check-in after a move. */
  seen(slot: number): void {
    const { fleet, store } = this.#parts;
    const envoyId = fleet.view(slot).id;
    const marked = store.transaction(async (tx) => {
      const held = await tx.ownerships.of(envoyId);
      if (held?.state !== 'arrived') return undefined;
      await tx.ownerships.put({ ...held, state: 'confirming' });
      return { envoyId, ownerEpoch: held.ownerEpoch };
    });
    marked.then(
      (confirmation) => {
        if (confirmation !== undefined) for (const listener of this.#listeners) listener(confirmation);
      },
      // the flag comes back: the next check-in tries again
      () => fleet.arrive(slot),
    );
  }

  readonly confirmations = {
    pending: async (): Promise<readonly Confirmation[]> =>
      (await this.#parts.store.ownerships.inState('confirming')).map(({ envoyId, ownerEpoch }) => ({ envoyId, ownerEpoch })),
    onNew: (listener: (confirmation: Confirmation) => void): (() => void) => {
      this.#listeners.add(listener);
      return () => void this.#listeners.delete(listener);
    },
    /** the hub knows */
    done: async (envoyId: EnvoyId, ownerEpoch: number): Promise<void> => {
      await this.#parts.store.transaction(async (tx) => {
        const held = await tx.ownerships.of(envoyId);
        if (held?.state === 'confirming' && held.ownerEpoch === ownerEpoch) await tx.ownerships.put({ ...held, state: 'owned' });
      });
    },
  };
}
