/** Permits: the hub's signed word that one spoke may make one enrolment token by itself, for times without the hub. */
import { z } from 'zod';
import { CodedError } from '../base/errors.ts';
import { assertUsable, type SignedRecord } from '../crypto/delegation.ts';
import type { SigningKey } from '../crypto/ed25519.ts';
import { openWord, signWord } from './hub-word.ts';

const permitSchema = z.object({
  fleet_id: z.string(),
  /** the spoke that may use it */
  site_id: z.string(),
  permit_id: z.string(),
  /** milliseconds since 1970 */
  not_before: z.number(),
  not_after: z.number(),
});
export type Permit = z.output<typeof permitSchema>;

/** Text that proves itself, as a grant does. */
export const signedPermitSchema = z.object({
  record: z.string().max(2000),
  signature: z.string().max(200),
  delegation: z.object({ record: z.string().max(4000), signature: z.string().max(200) }),
});
export type SignedPermit = z.output<typeof signedPermitSchema>;

export function signPermit(hub: { readonly serverKey: SigningKey; readonly delegation: SignedRecord }, permit: Permit): SignedPermit {
  return signWord('permit', hub, permit);
}

/**
 * The permit, when it may be used at this site now. Spokes lack the scope `redirect`, so none can make its own.
 * @throws CodedError BUNDLE_REJECTED for a wrong signature, shape, fleet, site or scope, a revoked delegation, and outside of its time
 */
export function openPermit(
  signed: SignedPermit,
  trust: {
    readonly rootPublicKey: Uint8Array;
    readonly fleetId: string;
    readonly siteId: string;
    readonly revokedSerials: ReadonlySet<string>;
    readonly now: number;
  },
): Permit {
  const { value: permit, key } = openWord('permit', 'permit', permitSchema, signed, trust);
  // made while the delegation held; it ends by itself
  assertUsable(key, { scope: 'redirect', now: permit.not_before, revokedSerials: trust.revokedSerials });
  if (permit.fleet_id !== trust.fleetId) throw new CodedError('BUNDLE_REJECTED', 'the permit belongs to another fleet');
  if (permit.site_id !== trust.siteId) throw new CodedError('BUNDLE_REJECTED', `the permit is for site ${permit.site_id}`);
  if (trust.now >= permit.not_after) throw new CodedError('BUNDLE_REJECTED', 'the permit has run out');
  if (permit.not_before > trust.now + 300_000) throw new CodedError('BUNDLE_REJECTED', 'the permit lies in the future');
  return permit;
}
