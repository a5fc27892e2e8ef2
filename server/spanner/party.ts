/** Who this server is in the greeting of a link. */
import type { ServerParts } from '../parts.ts';
import type { Party } from './hello.ts';

export function partyOf({ identity, revocations }: Pick<ServerParts, 'identity' | 'revocations'>): Party {
  return {
    fleetId: identity.fleetId,
    siteId: identity.siteId,
    serverId: identity.serverId,
    rootPublicKey: identity.rootPublicKey,
    serverKey: identity.serverKey,
    get delegation() {
      return identity.delegation;
    },
    revoked: () => revocations.serials,
  };
}
