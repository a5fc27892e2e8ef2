/** What of a request to enrol proves itself: a hostname, a time, a key and its signature. The same at every server that sees it. */
import { createHash } from 'node:crypto';
import type { EnrollRequest } from '../../core/api/enroll.ts';
import { CodedError } from '../../core/base/errors.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import { verifyFor } from '../../core/crypto/domain.ts';
import { requireAcceptablePublicKey } from '../../core/crypto/ed25519.ts';
import { CLOCK_WINDOW_MS } from '../rpc/authenticate.ts';

const HOSTNAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** Keys of a request that its proof holds for. */
export interface ProvenKey {
  /** raw 32 bytes */
  readonly identityKey: Buffer;
  /** hex SHA-256 */
  readonly fingerprint: string;
  /** what both proofs sign */
  readonly signedBytes: Buffer;
}

export function keyFingerprint(key: Uint8Array): string {
  return createHash('sha256').update(key).digest('hex');
}

/** What `proof` and `old_key_proof` sign: canonical JSON of the request without the two. */
export function proofBytes(request: EnrollRequest): Buffer {
  const { proof: _proof, old_key_proof: _old, ...signed } = request;
  return canonicalBytes(signed);
}

/** @throws CodedError HOSTNAME_INVALID */
export function requireHostname(hostname: string): void {
  if (!HOSTNAME.test(hostname))
    throw new CodedError('HOSTNAME_INVALID', 'the hostname is not a lower-case RFC 1123 name of at most 253 bytes');
}

/** @throws CodedError CLOCK_SKEW */
export function requireClock(timestampMs: number, now: number): void {
  if (Math.abs(now - timestampMs) > CLOCK_WINDOW_MS)
    throw new CodedError('CLOCK_SKEW', 'the clocks of envoy and server differ by more than 5 minutes', {
      details: { server_time_ms: now },
    });
}

/** @throws CodedError WEAK_KEY, BAD_PROOF */
export function provenKey(request: EnrollRequest): ProvenKey {
  const identityKey = Buffer.from(request.identity_key, 'base64');
  requireAcceptablePublicKey(identityKey);
  const signedBytes = proofBytes(request);
  if (!verifyFor('enroll', identityKey, signedBytes, Buffer.from(request.proof, 'base64')))
    throw new CodedError('BAD_PROOF', 'the proof is not a signature of the identity key over this request');
  return { identityKey, fingerprint: keyFingerprint(identityKey), signedBytes };
}
