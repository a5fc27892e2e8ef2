/** Which site owns this envoy: what the hub's newest grant says, or what was written at the enrolment. */
import type { Authority } from './server-link.ts';

/** The grant that this agent follows, kept before it is used. */
export interface Owner {
  readonly envoy_id: string;
  readonly site_id: string;
  readonly owner_epoch: number;
  readonly servers: readonly string[];
  readonly fallback_servers: readonly string[];
  readonly api_url: string;
  readonly issued_at: number;
  /** servers of the owner before */
  readonly previous: readonly string[];
}

/** What the config file says. */
export interface Enrolled {
  readonly envoyId: string;
  readonly siteId: string;
  /** absent: 1 */
  readonly ownerEpoch?: number | undefined;
}

export interface OwnerInUse {
  readonly siteId: string;
  readonly ownerEpoch: number;
  /** undefined: no grant was followed since the enrolment */
  readonly owner: Owner | undefined;
}

/** The grant wins over the file unless the machine was enrolled anew since: as another envoy, or at a higher epoch. */
export function ownerInUse(kept: Owner | undefined, enrolled: Enrolled): OwnerInUse {
  const ownerEpoch = enrolled.ownerEpoch ?? 1;
  const refreshed = kept?.owner_epoch === ownerEpoch && kept.site_id === enrolled.siteId;
  if (kept !== undefined && kept.envoy_id === enrolled.envoyId && (kept.owner_epoch > ownerEpoch || refreshed))
    return { siteId: kept.site_id, ownerEpoch: kept.owner_epoch, owner: kept };
  return { siteId: enrolled.siteId, ownerEpoch, owner: undefined };
}

/** The only addresses an agent ever dials, in the order to be tried. @param authority the directive of the owner itself, if one is held */
export function serversInOrder(
  { owner }: OwnerInUse,
  authority: Pick<Authority, 'servers' | 'fallback_servers'> | undefined,
  configured: { readonly server: string; readonly fallback_servers: readonly string[] },
): readonly string[] {
  const told = [...(authority?.servers ?? []), ...(authority?.fallback_servers ?? [])];
  const granted = owner === undefined ? [configured.server, ...told] : [...owner.servers, ...told, ...owner.fallback_servers];
  return [...new Set([...granted, ...(owner?.previous ?? []), configured.server, ...configured.fallback_servers])];
}
