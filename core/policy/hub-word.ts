/** A word of the hub that proves itself wherever it travels: canonical text, signature, and the delegation of the key that made it. */
import type { z } from 'zod';
import { CodedError } from '../base/errors.ts';
import { canonicalBytes } from '../base/json.ts';
import { openDelegation, type SignedRecord, type TrustedKey } from '../crypto/delegation.ts';
import { type Domain, signFor, verifyFor } from '../crypto/domain.ts';
import type { SigningKey } from '../crypto/ed25519.ts';

export interface HubWord {
  readonly record: string;
  /** base64 */
  readonly signature: string;
  readonly delegation: SignedRecord;
}

export function signWord(
  domain: Domain,
  hub: { readonly serverKey: SigningKey; readonly delegation: SignedRecord },
  value: unknown,
): { record: string; signature: string; delegation: SignedRecord } {
  const bytes = canonicalBytes(value);
  return {
    record: bytes.toString('utf8'),
    signature: signFor(domain, hub.serverKey, bytes).toString('base64'),
    delegation: hub.delegation,
  };
}

/**
 * What was signed, and by whom; whether that key may say it is the caller's business.
 * @throws CodedError BUNDLE_REJECTED for a wrong signature, shape or fleet
 */
export function openWord<T>(
  what: string,
  domain: Domain,
  schema: z.ZodType<T>,
  signed: HubWord,
  trust: { readonly rootPublicKey: Uint8Array; readonly fleetId: string },
): { readonly value: T; readonly key: TrustedKey } {
  const key = openDelegation(trust.rootPublicKey, trust.fleetId, signed.delegation);
  if (!verifyFor(domain, key.publicKey, Buffer.from(signed.record, 'utf8'), Buffer.from(signed.signature, 'base64')))
    throw new CodedError('BUNDLE_REJECTED', `the ${what} is not signed by the key of its delegation`);
  let json: unknown;
  try {
    json = JSON.parse(signed.record);
  } catch (cause) {
    throw new CodedError('BUNDLE_REJECTED', `the ${what} is no JSON`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new CodedError('BUNDLE_REJECTED', `the ${what} has an unknown shape`, { cause: parsed.error });
  return { value: parsed.data, key };
}
