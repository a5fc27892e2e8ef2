/** Who owns an envoy: a record that the hub alone signs, with an epoch that only grows. It travels to sites as a grant and to agents as a redirect. */
import { z } from 'zod';
import { CodedError } from '../base/errors.ts';
import { assertUsable, type SignedRecord } from '../crypto/delegation.ts';
import type { SigningKey } from '../crypto/ed25519.ts';
import { openWord, signWord } from './hub-word.ts';

const grantSchema = z.object({
  fleet_id: z.string(),
  envoy_id: z.string(),
  /** the owner */
  site_id: z.string(),
  owner_epoch: z.number().int().positive(),
  /** host:port of the owner's servers, in the order to be tried */
  servers: z.array(z.string()).min(1),
  /** host:port of servers that can tell the owner: its peers and the hub */
  fallback_servers: z.array(z.string()),
  /** https address of the owner's REST port */
  api_url: z.string(),
  /** milliseconds since 1970 */
  issued_at: z.number(),
});
export type Grant = z.output<typeof grantSchema>;

/** Text that proves itself: the grant, the hub's signature (base64), and the delegation of the hub's key. */
export const signedGrantSchema = z.object({
  record: z.string(),
  signature: z.string(),
  delegation: z.object({ record: z.string(), signature: z.string() }),
});
export type SignedGrant = z.output<typeof signedGrantSchema>;

export function signGrant(hub: { readonly serverKey: SigningKey; readonly delegation: SignedRecord }, grant: Grant): SignedGrant {
  return signWord('ownership', hub, grant);
}

/**
 * The grant, when a server with scope `redirect` signed it: only hubs and stand-alone servers have that scope. Whether its epoch is high enough is the caller's business.
 * @throws CodedError BUNDLE_REJECTED for a wrong signature, shape, fleet or scope, and for a revoked delegation
 */
export function openGrant(
  signed: SignedGrant,
  trust: { readonly rootPublicKey: Uint8Array; readonly fleetId: string; readonly revokedSerials: ReadonlySet<string> },
): Grant {
  const { value: grant, key } = openWord('grant', 'ownership', grantSchema, signed, trust);
  // a grant stays good when the delegation that made it has run out since
  assertUsable(key, { scope: 'redirect', now: grant.issued_at, revokedSerials: trust.revokedSerials });
  if (grant.fleet_id !== trust.fleetId) throw new CodedError('BUNDLE_REJECTED', 'the grant belongs to another fleet');
  return grant;
}
