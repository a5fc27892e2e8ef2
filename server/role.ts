/** What a role adds to a site: more or other REST routes, and what runs once the site is up. */
import type { ServerParts } from './parts.ts';
import type { Publishing } from './publish/publishing.ts';
import type { Handler } from './rest/handler.ts';
import type { RestParts } from './rest/parts.ts';

export interface RoleSite {
  readonly parts: ServerParts;
  readonly publishing: Publishing;
  readonly rest: RestParts;
  /** of the site's own data, whatever the role puts in front of them */
  readonly ownHandlers: readonly Handler[];
  readonly rpcPort: number;
}

export interface StartedRole {
  /** what REST serves */
  readonly handlers: readonly Handler[];
  /** listeners are open: links are made from here on */
  up(ports: { readonly rpcPort: number; readonly apiPort: number }): Promise<void>;
  stop(): Promise<void>;
}

/** Builds the role on a site that is loaded but does not serve REST yet. @throws CodedError with the exit code of server.md §3 */
export type SiteRole = (site: RoleSite) => Promise<StartedRole>;

/** Roles beyond stand-alone, as `bin` puts them together. */
export type Roles = Readonly<Record<'hub' | 'spoke', SiteRole>>;
