/** When the servers of a fleet join another fleet: the former root names its successor, and whoever pinned the former root may pin the new one. */
import { z } from 'zod';
import { CodedError } from '../base/errors.ts';
import { canonicalBytes } from '../base/json.ts';
import type { SignedRecord } from './delegation.ts';
import { signFor, verifyFor } from './domain.ts';
import { requireAcceptablePublicKey, type SigningKey } from './ed25519.ts';

const successionSchema = z.object({
  former_fleet_id: z.string(),
  former_site_id: z.string(),
  fleet_id: z.string(),
  /** what the former site is called in the new fleet */
  site_id: z.string(),
  /** raw 32 bytes, base64 */
  root_public_key: z.string(),
  /** PEM */
  root_ca: z.string(),
  /** milliseconds since 1970 */
  at: z.number(),
});
export type Succession = z.output<typeof successionSchema>;

export function signSuccession(formerRoot: SigningKey, succession: Succession): SignedRecord {
  const bytes = canonicalBytes(succession);
  return { record: bytes.toString('utf8'), signature: signFor('succession', formerRoot, bytes).toString('base64') };
}

/** @throws CodedError BUNDLE_REJECTED for what the former root did not sign, or for another fleet than the former one; WEAK_KEY */
export function openSuccession(formerRootPublicKey: Uint8Array, formerFleetId: string, signed: SignedRecord): Succession {
  if (!verifyFor('succession', formerRootPublicKey, Buffer.from(signed.record, 'utf8'), Buffer.from(signed.signature, 'base64')))
    throw new CodedError('BUNDLE_REJECTED', 'the succession is not signed by the pinned root key');
  const parsed = successionSchema.safeParse(JSON.parse(signed.record));
  if (!parsed.success) throw new CodedError('BUNDLE_REJECTED', 'the succession has an unknown shape', { cause: parsed.error });
  if (parsed.data.former_fleet_id !== formerFleetId) throw new CodedError('BUNDLE_REJECTED', 'the succession is of another fleet');
  requireAcceptablePublicKey(Buffer.from(parsed.data.root_public_key, 'base64'));
  return parsed.data;
}
