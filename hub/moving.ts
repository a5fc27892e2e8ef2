/** Moves as a part of the hub: roster, journal and batches on the registry of sites. */
import { messageOf } from '../core/base/errors.ts';
import { openRevocation } from '../core/crypto/delegation.ts';
import type { ServerParts } from '../server/parts.ts';
import type { Handler } from '../server/rest/handler.ts';
import type { Answer, LinkSession } from '../server/spanner/link.ts';
import { Batches } from './batches.ts';
import { moveHandlers } from './move-handlers.ts';
import type { HubMoveParts } from './move-ports.ts';
import { Mover } from './mover.ts';
import { grantIn, Roster } from './roster.ts';
import { routeAmong } from './routing.ts';
import type { SiteRegistry } from './sites.ts';

export interface Moving {
  readonly roster: Roster;
  readonly mover: Mover;
  readonly batches: Batches;
  readonly handlers: readonly Handler[];
  readonly answers: readonly Answer[];
  /** with each fresh link, before anything is assigned over it */
  linked(session: LinkSession): Promise<void>;
  /** before links open */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** The welcome of a site whose envoys were given away in its absence says so, before anything else. */
export function isFenced(sites: SiteRegistry, siteId: string): boolean {
  return sites.get(siteId)?.state === 'evacuated';
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
  const batches = new Batches({
    ...shared,
    mover,
    sites,
    route: (hostname, without) => routeAmong(hostname, sites, parts.settings, without).siteId,
    defaultRate: `${parts.settings.spanner.move_rate_pct}%/min`,
  });
  sites.onState((siteId) => {
    const session = sites.session(siteId);
    if (session === undefined) return;
    // it is told again with its next link, and while a drain looks at it
    mover.sequence
      .state(session)
      .catch((thrown: unknown) => shared.log.warn('a site was not told its state', { spoke: siteId, error: messageOf(thrown) }));
  });
  // the hub leads every envoy of the fleet to its owner
  parts.ownership.lookup = async (envoyId) => {
    const row = await store.roster.byId(envoyId);
    return row === undefined || row.ownerSite === identity.siteId || row.status === 'removed' ? undefined : grantIn(row);
  };
  metrics.onCollect(async () => {
    const counts = await store.moves.countByPhase();
    for (const phase of ['INTENT', 'READY', 'COMMITTED'] as const) metrics.set('vigo_moves_open', counts[phase], { phase });
    metrics.reset('vigo_drain_remaining');
    for (const { site, kind } of await store.drains.list({ state: 'running' }, 1000))
      if (kind === 'drain' || kind === 'evacuate') metrics.set('vigo_drain_remaining', await store.roster.count(site), { spoke: site });
    metrics.set('vigo_owner_epoch_max', await store.roster.highestEpoch());
  });
  return {
    roster,
    mover,
    batches,
    handlers: moveHandlers({ parts, sites, batches }),
    answers: [...roster.answers, ...mover.answers],
    linked: async (session) => {
      await mover.sequence.meet(session);
      await mover.linked(session);
    },
    start: async () => {
      await mover.recover();
      await batches.resume();
    },
    stop: async () => {
      await Promise.all([batches.stop(), mover.stop()]);
    },
  };
}
