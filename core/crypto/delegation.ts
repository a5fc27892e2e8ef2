/** Delegations: the root key says which server key may sign what, for which site, from when to when. Chains end at the root key that agents pin. */
import { z } from 'zod';
import { CodedError } from '../base/errors.ts';
import { canonicalBytes } from '../base/json.ts';
import { signFor, verifyFor } from './domain.ts';
import { keyIdOf, requireAcceptablePublicKey, type SigningKey } from './ed25519.ts';

export const DELEGATION_SCOPES = ['bundle', 'redirect', 'release', 'audit', 'enroll', 'peer'] as const;
/** What a spoke may sign: neither releases nor who owns an envoy, which are the hub's alone. */
export const SPOKE_SCOPES: readonly DelegationScope[] = ['bundle', 'audit', 'enroll'];
export type DelegationScope = (typeof DELEGATION_SCOPES)[number];

const delegationSchema = z.object({
  fleet_id: z.string(),
  site_id: z.string(),
  server_id: z.string(),
  /** raw 32 bytes, base64 */
  public_key: z.string(),
  scopes: z.array(z.string()),
  epoch: z.number().int().positive(),
  may_promote: z.boolean(),
  /** milliseconds since 1970 */
  not_before: z.number(),
  not_after: z.number(),
  serial: z.string(),
});
export type Delegation = z.output<typeof delegationSchema>;

/** A record as it travels: canonical JSON text and the base64 signature over it. */
export interface SignedRecord {
  readonly record: string;
  readonly signature: string;
}

const revocationSchema = z.object({ fleet_id: z.string(), serial: z.string(), at: z.number() });
export type Revocation = z.output<typeof revocationSchema>;

export function signDelegation(root: SigningKey, delegation: Delegation): SignedRecord {
  const bytes = canonicalBytes(delegation);
  return { record: bytes.toString('utf8'), signature: signFor('delegation', root, bytes).toString('base64') };
}

export function signRevocation(root: SigningKey, revocation: Revocation): SignedRecord {
  const bytes = canonicalBytes(revocation);
  return { record: bytes.toString('utf8'), signature: signFor('revocation', root, bytes).toString('base64') };
}

function open<T>(kind: 'delegation' | 'revocation', schema: z.ZodType<T>, rootPublicKey: Uint8Array, signed: SignedRecord): T {
  if (!verifyFor(kind, rootPublicKey, Buffer.from(signed.record, 'utf8'), Buffer.from(signed.signature, 'base64'))) {
    throw new CodedError('BUNDLE_REJECTED', `the ${kind} is not signed by the pinned root key`);
  }
  const parsed = schema.safeParse(JSON.parse(signed.record));
  if (!parsed.success) throw new CodedError('BUNDLE_REJECTED', `the ${kind} has an unknown shape`, { cause: parsed.error });
  return parsed.data;
}

export function openRevocation(rootPublicKey: Uint8Array, signed: SignedRecord): Revocation {
  return open('revocation', revocationSchema, rootPublicKey, signed);
}

/** A delegation that holds: who, the raw public key, and its key id. */
export interface TrustedKey {
  readonly delegation: Delegation;
  readonly publicKey: Uint8Array;
  readonly keyId: string;
}

/** @throws CodedError BUNDLE_REJECTED (signature, shape, fleet), WEAK_KEY. Dates and revocation are for {@link assertUsable}. */
export function openDelegation(rootPublicKey: Uint8Array, fleetId: string, signed: SignedRecord): TrustedKey {
  const delegation = open('delegation', delegationSchema, rootPublicKey, signed);
  if (delegation.fleet_id !== fleetId) throw new CodedError('BUNDLE_REJECTED', 'the delegation belongs to another fleet');
  const publicKey = Buffer.from(delegation.public_key, 'base64');
  requireAcceptablePublicKey(publicKey);
  return { delegation, publicKey, keyId: keyIdOf(publicKey) };
}

/** @throws CodedError BUNDLE_REJECTED when the key may not sign this, now */
export function assertUsable(
  key: TrustedKey,
  options: { scope: DelegationScope; now: number; revokedSerials: ReadonlySet<string>; siteId?: string },
): void {
  const { delegation } = key;
  if (options.revokedSerials.has(delegation.serial))
    throw new CodedError('BUNDLE_REJECTED', `the delegation ${delegation.serial} is revoked`);
  if (!delegation.scopes.includes(options.scope))
    throw new CodedError('BUNDLE_REJECTED', `the delegation does not allow "${options.scope}"`);
  if (options.siteId !== undefined && delegation.site_id !== options.siteId)
    throw new CodedError('BUNDLE_REJECTED', `the delegation is for site ${delegation.site_id}`);
  if (options.now < delegation.not_before || options.now > delegation.not_after)
    throw new CodedError('BUNDLE_REJECTED', 'the delegation is not valid now', { hint: 'compare the clocks of server and envoy' });
}
