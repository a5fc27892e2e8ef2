/** The role spoke: a site that owns envoys below a hub. A stand-alone server is the same site without this. */
import type { SiteRole } from '../server/role.ts';

export const spokeRole: SiteRole = async ({ ownHandlers }) => ({
  handlers: ownHandlers,
  up: async () => undefined,
  stop: async () => undefined,
});
