/** Moves as a part of the hub: roster, journal and batches on the registry of sites. */
import { openRevocation } from '../core/crypto/delegation.ts';
import type { ServerParts } from '../server/parts.ts';
import type { Answer, LinkSession } from '../server/spanner/link.ts';
import type { HubMoveParts } from './move-ports.ts';
import { Mover } from './mover.ts';
import { grantIn, Roster } from './roster.ts';
import type { SiteRegistry } from './sites.ts';

export interface Moving {
  readonly roster: Roster;
  readonly mover: Mover;
  readonly answers: readonly Answer[];
  /** with each fresh link, before anything is assigned over it */
  linked(session: LinkSession): Promise<void>;
  /** before links open */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export function createMoving(parts: ServerParts, sites: SiteRegistry): Moving {
  const { store, trail, clock, metrics, identity } = parts;
  const shared: HubMoveParts = {
    store,
    trail,
    clock,
    log: parts.log.component('moves'),
    metrics,
    random: Math.random,
    sites,
    authority: () => identity,
    revokedSerials: () => new Set(identity.revocations.map((signed) => openRevocation(identity.rootPublicKey, signed).serial)),
    hubAddr: () => parts.advertised,
  };
  const roster = new Roster(shared);
  const mover = new Mover({ ...shared, roster });
  // the hub leads every envoy of the fleet to its owner
  parts.ownership.lookup = async (envoyId) => {
    const row = await store.roster.byId(envoyId);
    return row === undefined || row.ownerSite === identity.siteId || row.status === 'removed' ? undefined : grantIn(row);
  };
  metrics.onCollect(async () => {
    const counts = await store.moves.countByPhase();
    for (const phase of ['INTENT', 'READY', 'COMMITTED'] as const) metrics.set('vigo_moves_open', counts[phase], { phase });
    metrics.set('vigo_owner_epoch_max', await store.roster.highestEpoch());
  });
  return {
    roster,
    mover,
    answers: [...roster.answers, ...mover.answers],
    linked: async (session) => {
      await mover.sequence.meet(session);
      await mover.linked(session);
    },
    start: () => mover.recover(),
    stop: () => mover.stop(),
  };
}
