/** The registry as the router sees it. */
import type { Settings } from '../server/settings.ts';
import { type Routed, type RouteSite, routeOf } from './router.ts';
import type { SiteState, Sites } from './sites.ts';

/** Whether envoys may be enrolled at a site or moved to it. */
export function acceptsEnvoys({ state }: Pick<SiteState, 'state'>): boolean {
  return state === 'active';
}

/** @param without sites that are not to be chosen */
export function routeAmong(
  hostname: string,
  sites: Sites,
  settings: Pick<Settings, 'spanner'>,
  without: ReadonlySet<string> = new Set(),
): Routed {
  const among: readonly RouteSite[] = sites
    .list()
    .map((site) => ({ id: site.id, patterns: site.patterns, weight: site.weight, accepts: acceptsEnvoys(site) && !without.has(site.id) }));
  const { default_spoke: fallback } = settings.spanner;
  return routeOf(hostname, among, fallback === 'none' ? undefined : fallback);
}
