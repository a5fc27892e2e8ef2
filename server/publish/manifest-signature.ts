/** Signs and checks the manifest of a release: the server's key, delegated by the root key for releases (config.md §11.2). */
import { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import { type Manifest, manifestSchema } from '../../core/config/manifest.ts';
import { assertUsable, openDelegation, type SignedRecord } from '../../core/crypto/delegation.ts';
import { signFor, verifyFor } from '../../core/crypto/domain.ts';
import type { SigningKey } from '../../core/crypto/ed25519.ts';

const signatureSchema = z.object({
  key_id: z.string(),
  /** base64 */
  signature: z.string(),
  delegation: z.object({ record: z.string(), signature: z.string() }),
});

/** What signs releases and what they are checked against. */
export interface ReleaseAuthority {
  readonly fleetId: string;
  readonly epoch: number;
  readonly rootPublicKey: Uint8Array;
  readonly serverKey: SigningKey;
  readonly keyId: string;
  readonly delegation: SignedRecord;
}

export function signManifest(authority: ReleaseAuthority, manifest: Manifest): string {
  const signature = signFor('release', authority.serverKey, canonicalBytes(manifest)).toString('base64');
  return `${JSON.stringify({ key_id: authority.keyId, signature, delegation: authority.delegation })}\n`;
}

/**
 * @param revokedSerials delegations that no longer count: for releases that come from elsewhere; one that is here already stays good
 * @throws CodedError RELEASE_INVALID
 */
export function openManifest(
  authority: Pick<ReleaseAuthority, 'fleetId' | 'rootPublicKey'>,
  manifestText: string,
  signatureText: string,
  revokedSerials: ReadonlySet<string> = new Set(),
): Manifest {
  const invalid = (why: string, cause?: unknown) => new CodedError('RELEASE_INVALID', `the manifest ${why}`, { cause });
  let manifest: Manifest;
  let signed: z.output<typeof signatureSchema>;
  try {
    manifest = manifestSchema.parse(JSON.parse(manifestText));
    signed = signatureSchema.parse(JSON.parse(signatureText));
  } catch (thrown) {
    throw invalid('or its signature cannot be read', thrown);
  }
  if (manifest.fleet_id !== authority.fleetId) throw invalid('belongs to another fleet');
  try {
    const key = openDelegation(authority.rootPublicKey, authority.fleetId, signed.delegation);
    // a release stays good when the delegation that made it has run out since
    assertUsable(key, { scope: 'release', now: Date.parse(manifest.created_at), revokedSerials });
    if (!verifyFor('release', key.publicKey, canonicalBytes(manifest), Buffer.from(signed.signature, 'base64')))
      throw invalid('has a wrong signature');
  } catch (thrown) {
    if (thrown instanceof CodedError && thrown.code === 'RELEASE_INVALID') throw thrown;
    throw invalid('is signed by a key that must not sign releases', thrown);
  }
  return manifest;
}
