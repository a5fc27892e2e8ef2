/** The role hub: the site above the spokes. */
import type { SiteRole } from '../server/role.ts';

export const hubRole: SiteRole = async ({ ownHandlers }) => ({
  handlers: ownHandlers,
  up: async () => undefined,
  stop: async () => undefined,
});
