/** Handlers of the routes that a hub alone has. */
import { addSpoke, listSpokes, removeSpoke, routeHostname, setSpoke, showSpoke, spannerStatus } from '../core/api/spanner.ts';
import { joinSpanner } from '../core/api/spanner-join.ts';
import { actorOf } from '../server/access/permissions.ts';
import type { ServerParts } from '../server/parts.ts';
import { type Handler, handler } from '../server/rest/handler.ts';
import type { Joins } from './join.ts';
import { routeAmong } from './routing.ts';
import type { SiteRegistry } from './sites.ts';
import type { Spokes } from './spokes.ts';

export function hubHandlers(hub: {
  readonly parts: ServerParts;
  readonly sites: SiteRegistry;
  readonly joins: Joins;
  readonly spokes: Spokes;
}): readonly Handler[] {
  const { parts, sites, joins, spokes } = hub;
  return [
    handler(joinSpanner, ({ body, address }) => joins.join(body, address)),
    handler(spannerStatus, () => ({
      role: 'hub' as const,
      site_id: parts.identity.siteId,
      hub: parts.advertised,
      epoch: parts.identity.epoch,
      release: parts.releases.live?.number ?? 0,
      link: null,
      spokes: spokes.items(),
    })),
    handler(routeHostname, ({ query }) => {
      const { siteId, why, tried } = routeAmong(query.hostname, sites, parts.settings);
      return {
        hostname: query.hostname,
        spoke: siteId ?? null,
        why,
        tried: tried.map((each) => ({
          pattern: each.pattern,
          spoke: each.siteId,
          literals_before: each.literalsBefore,
          literals: each.literals,
          matches: each.matches,
          chosen: each.chosen,
          why: each.why,
        })),
      };
    }),
    handler(listSpokes, () => ({ items: spokes.items(), next_cursor: null, complete: true, spokes: [] })),
    handler(showSpoke, ({ params }) => spokes.item(params.id)),
    handler(addSpoke, ({ body, principal, requestId }) => spokes.add(body, actorOf(principal), requestId)),
    handler(
      setSpoke,
      ({ params, body, principal, requestId }) => spokes.set(params.id, body, actorOf(principal), requestId),
      ({ params }) => Promise.resolve(spokes.item(params.id)),
    ),
    handler(
      removeSpoke,
      async ({ params, principal, requestId }) => ({
        id: params.id,
        status: 'removed' as const,
        revoked_serials: [...(await spokes.remove(params.id, actorOf(principal), requestId))],
      }),
      ({ params }) => Promise.resolve(spokes.item(params.id)),
    ),
  ];
}
