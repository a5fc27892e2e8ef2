/** The hub's copy of who is enrolled where. A site's word counts for what it owns; who owns it is the hub's own word, or a grant that proves it. */
import { CodedError, messageOf } from '../core/base/errors.ts';
import type { EnvoyId } from '../core/base/ids.ts';
import { requireAcceptablePublicKey } from '../core/crypto/ed25519.ts';
import { type Grant, openGrant, type SignedGrant } from '../core/policy/ownership.ts';
import { requireHostname } from '../server/enroll/request.ts';
import { failpoint } from '../server/failpoints.ts';
import { identitySchema, type TravellingIdentity } from '../server/spanner/identity-record.ts';
import { ROSTER_PAGE, type RosterEntry, rosterChanged, rosterPull } from '../server/spanner/kinds/roster.ts';
import { type Answer, answers, type LinkSession } from '../server/spanner/link.ts';
import { STEP } from '../server/store/moves.ts';
import type { RosterRow } from '../server/store/roster.ts';
import type { Tables } from '../server/store/store.ts';
import type { HubMoveParts } from './move-ports.ts';
import { Slots } from './slots.ts';

export function identityIn(row: RosterRow): TravellingIdentity | undefined {
  return row.identity === '' ? undefined : identitySchema.parse(JSON.parse(row.identity));
}

/** A grant as a row keeps it. */
export function grantIn(row: Pick<RosterRow, 'grant'>): SignedGrant | undefined {
  return row.grant === '' ? undefined : (JSON.parse(row.grant) as SignedGrant);
}

/** Where an envoy enrolled it is under this epoch. */
const ENROLLED_EPOCH = 1;

type RosterParts = Pick<HubMoveParts, 'store' | 'clock' | 'log' | 'sites' | 'authority' | 'revokedSerials' | 'failpoint' | 'metrics'>;

export class Roster {
  readonly answers: readonly Answer[];
  /** all who change rows of the roster take turns: each decides by what it has read */
  readonly writing: Pick<HubMoveParts['store'], 'transaction'>;
  readonly #parts: RosterParts;
  readonly #pulls = new Map<string, Promise<void>>();
  readonly #listeners: ((siteId: string) => void)[] = [];

  constructor(parts: RosterParts) {
    this.#parts = parts;
    const turn = new Slots(1);
    this.writing = { transaction: (work) => turn.with(() => parts.store.transaction(work)) };
    this.answers = [
      answers(rosterChanged, async (_told, { from }) => {
        const session = parts.sites.session(from);
        if (session !== undefined)
          this.pull(session).catch((thrown: unknown) =>
            parts.log.warn('a roster could not be read', { spoke: from, error: messageOf(thrown) }),
          );
        return {};
      }),
    ];
  }

  /** called after something was learned from a site */
  onLearned(listener: (siteId: string) => void): void {
    this.#listeners.push(listener);
  }

  /** Reads what is new at a site; `whole` from the beginning. One reading of a site at a time. @throws what the link throws */
  pull(session: LinkSession, whole = false): Promise<void> {
    const before = this.#pulls.get(session.siteId) ?? Promise.resolve();
    const now = before.catch(() => undefined).then(() => this.#read(session, whole));
    this.#pulls.set(session.siteId, now);
    return now;
  }

  async #read(session: LinkSession, whole: boolean): Promise<void> {
    const { store, clock } = this.#parts;
    const { siteId } = session;
    const known = await store.roster.site(siteId);
    let after = whole ? 0 : (known?.seq ?? 0);
    let epoch = known?.epoch ?? 0;
    for (let pages = 0; ; pages += 1) {
      const page = await session.request(rosterPull, { epoch, after, limit: ROSTER_PAGE });
      // a site must not keep this hub reading for ever: each page but the first leads on from the one before
      const leadsOn = page.through > after || (pages === 0 && page.anew && page.through > 0);
      if (page.entries.length > ROSTER_PAGE || (!page.complete && (!leadsOn || page.entries.length === 0)))
        throw new CodedError('BAD_REQUEST', `the roster of ${siteId} does not come to its end`);
      await this.writing.transaction(async (tx) => {
        for (const entry of page.entries) await this.#merge(tx, siteId, entry);
        await tx.roster.putSite({ siteId, epoch: page.epoch, seq: page.through, heardAt: clock.now() });
      });
      (this.#parts.failpoint ?? failpoint)('roster.merged');
      if (page.entries.length > 0) for (const listener of this.#listeners) listener(siteId);
      if (page.complete) return;
      after = page.through;
      epoch = page.epoch;
    }
  }

  #open(signed: SignedGrant, envoyId: string): Grant | undefined {
    const { fleetId, rootPublicKey } = this.#parts.authority();
    try {
      const grant = openGrant(signed, { fleetId, rootPublicKey, revokedSerials: this.#parts.revokedSerials() });
      return grant.envoy_id === envoyId ? grant : undefined;
    } catch (thrown) {
      if (thrown instanceof CodedError) return undefined;
      throw thrown;
    }
  }

  async #merge(tx: Tables, siteId: string, entry: RosterEntry): Promise<void> {
    const { clock, log } = this.#parts;
    const envoyId = entry.envoy_id as EnvoyId;
    const known = await tx.roster.byId(envoyId);
    const refuse = (why: string) => log.error('a site says what cannot be', { spoke: siteId, envoy_id: envoyId, error: why });
    const grant = entry.grant === null ? undefined : this.#open(entry.grant, envoyId);
    if (entry.grant !== null && grant === undefined) return refuse('its grant does not hold');
    if (entry.identity !== null) {
      const fault = faultOf(entry.identity, envoyId, known);
      if (fault !== undefined) return refuse(fault);
    }
    if (grant !== undefined && entry.grant !== null && grant.owner_epoch > (known?.ownerEpoch ?? 0)) {
      // this hub does not know its own word any more: it was restored from an older copy
      const here = grant.site_id === siteId && entry.state === 'owned' ? entry.identity : null;
      if (known === undefined && here === null) {
        await tx.counters.raise('owner_epoch_floor', grant.owner_epoch);
        return;
      }
      await tx.roster.put({
        ...(known ?? rowOf(here!, siteId, grant.owner_epoch)),
        ...(here === null ? {} : rowOf(here, siteId, grant.owner_epoch)),
        ownerSite: grant.site_id,
        ownerEpoch: grant.owner_epoch,
        highestEpoch: Math.max(known?.highestEpoch ?? 0, grant.owner_epoch),
        grant: JSON.stringify(entry.grant),
        heardAt: clock.now(),
      });
      return;
    }
    if (entry.state === 'departed') return;
    if (entry.state === 'removed') {
      if (known?.ownerSite !== siteId || known.status === 'removed') return;
      // it cannot have removed what it was not told of yet
      const moves = await tx.moves.listOfEnvoy(envoyId);
      if (moves.some(({ phase, steps, target }) => phase === 'COMMITTED' && target === siteId && (steps & STEP.activated) === 0)) return;
      await tx.roster.put({ ...known, status: 'removed', heardAt: clock.now() });
      return;
    }
    const { identity } = entry;
    if (identity === null) return refuse('an envoy without its identity');
    // where nobody moved it to, it has the epoch of its enrolment; a number without proof is not remembered either, nothing could be given out above the highest one
    if (entry.owner_epoch > Math.max(ENROLLED_EPOCH, grant?.owner_epoch ?? 0))
      return refuse(`it claims epoch ${entry.owner_epoch} without a grant`);
    const fresh = rowOf(identity, siteId, entry.owner_epoch);
    if (known === undefined) {
      await tx.roster.put({ ...fresh, grant: entry.grant === null ? '' : JSON.stringify(entry.grant), heardAt: clock.now() });
      return;
    }
    if (entry.owner_epoch < known.ownerEpoch) return;
    if (known.ownerSite !== siteId) return refuse(`${known.ownerSite} owns the envoy under the same epoch ${known.ownerEpoch}`);
    await tx.roster.put({
      ...known,
      status: fresh.status,
      identity: fresh.identity,
      heardAt: clock.now(),
    });
  }
}

/** What an envoy is called, and its key, never change: a site that says so wants another one's name. */
function faultOf(identity: TravellingIdentity, envoyId: EnvoyId, known: RosterRow | undefined): string | undefined {
  if (identity.envoy_id !== envoyId) return 'the identity is that of another envoy';
  try {
    requireHostname(identity.hostname);
    requireAcceptablePublicKey(Buffer.from(identity.identity_key, 'base64'));
  } catch (thrown) {
    return messageOf(thrown);
  }
  if (known === undefined) return undefined;
  if (known.hostname !== identity.hostname) return 'the envoy has another hostname than before';
  const before = identityIn(known)?.identity_key;
  return before !== undefined && before !== identity.identity_key ? 'the envoy has another identity key than before' : undefined;
}

function rowOf(identity: TravellingIdentity, siteId: string, epoch: number): RosterRow {
  return {
    envoyId: identity.envoy_id as EnvoyId,
    hostname: identity.hostname,
    status: identity.status,
    ownerSite: siteId,
    ownerEpoch: epoch,
    highestEpoch: epoch,
    grant: '',
    identity: JSON.stringify(identity),
    heardAt: 0,
  };
}
