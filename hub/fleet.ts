/** The fleet as one: the hub's side of questions about envoys, wherever they are. */
import { type EnvoyId, isUuid } from '../core/base/ids.ts';
import type { Handler } from '../server/rest/handler.ts';
import type { RoleSite } from '../server/role.ts';
import { pairedSessions } from '../server/spanner/paired.ts';
import { answerQueries } from '../server/spanner/site/query.ts';
import { answerRunsTail } from '../server/spanner/site/runs-tail.ts';
import type { RosterStore } from '../server/store/roster.ts';
import { type AskedSite, Asking } from './fan-out/ask.ts';
import { followHandler } from './fan-out/follow.ts';
import { fanOutHandlers } from './fan-out/handlers.ts';
import type { SiteRegistry, SiteState } from './sites.ts';

const MIB = 1024 ** 2;

/** A spoke that never came, or that was emptied and is gone, has nothing to say. */
function isAsked({ state, lastSeen, link }: SiteState): boolean {
  if (link.session?.isOpen === true) return true;
  return state === 'joining' ? lastSeen > 0 : state !== 'drained' && state !== 'evacuated';
}

export interface HubFleet {
  readonly asking: Asking;
  readonly handlers: readonly Handler[];
}

/** By the roster: an id, or the host name of one live envoy. */
export function ownerIn(roster: RosterStore): (name: string) => Promise<string | undefined> {
  return async (name) => {
    const wanted = name.toLowerCase();
    if (isUuid(wanted)) return (await roster.byId(wanted as EnvoyId))?.ownerSite;
    const live = (await roster.byHostname(wanted)).filter(({ status }) => status === 'active');
    return live.length === 1 ? live[0]?.ownerSite : undefined;
  };
}

/** @param ownerOf the site that owns an envoy, by id or host name, as far as the hub knows */
export function createHubFleet(site: RoleSite, sites: SiteRegistry, ownerOf: (name: string) => Promise<string | undefined>): HubFleet {
  const { parts, ownHandlers } = site;
  const { siteId } = parts.identity;
  // without envoys of its own the hub still has tokens, secrets and an audit log
  const [own] = pairedSessions({ siteId, answers: [] }, { siteId, answers: [answerQueries(ownHandlers), answerRunsTail(site.parts)] });
  const asked = (): readonly AskedSite[] => [
    { id: siteId, session: own, heardAt: parts.clock.now() },
    ...sites
      .list()
      .filter((each) => !each.own && isAsked(each))
      .map(({ id, link, lastSeen }) => ({ id, session: link.session, heardAt: Math.max(link.heartbeatAt, lastSeen) })),
  ];
  const asking = new Asking({
    sites: asked,
    deadlineMs: () => parts.settings.spanner.query_deadline,
    maxBytes: 8 * MIB,
    maxTotalBytes: 64 * MIB,
    metrics: parts.metrics,
    clock: parts.clock,
  });
  return {
    asking,
    handlers: [...fanOutHandlers(ownHandlers, { asking, own: siteId, ownerOf, clock: parts.clock }), followHandler(asking, parts.clock)],
  };
}
