/** Certificate renewal by key (server.md §6.6): a signed request, valid with an expired certificate or none. */
import { createHash } from 'node:crypto';
import type { RenewReply, RenewRequest } from '../../core/api/enroll.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { type EnvoyId, idText } from '../../core/base/ids.ts';
import { createEnvoyCertificate, validityOf } from '../../core/crypto/certificate.ts';
import { readHeader } from '../../proto/fast.ts';
import { codecs } from '../../proto/load.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { FleetIndex } from '../fleet/fleet-index.ts';
import type { Ownership } from '../fleet/ownership.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import type { Authenticated, Authenticator } from '../rpc/authenticate.ts';
import type { Store } from '../store/store.ts';

export interface RenewParts {
  readonly store: Store;
  readonly fleet: FleetIndex;
  readonly identity: ServerIdentity;
  readonly authenticator: Authenticator;
  readonly ownership: Pick<Ownership, 'withOwner'>;
  readonly trail: AuditTrail;
  readonly clock: Clock;
  readonly envoyCertDays: number;
}

/** What `content_hash` of the payload covers. */
export function renewContentHash(csr: string, sealingKey: string): Buffer {
  return createHash('sha256').update(`${csr}\0${sealingKey}`).digest();
}

/** An envoy whose certificate ran out while it moved has no other way to hear where it belongs. */
async function authenticated(parts: RenewParts, signed: Uint8Array, requestPayload: Uint8Array): Promise<Authenticated> {
  try {
    return parts.authenticator.authenticate('renew', signed, undefined);
  } catch (thrown) {
    const led = thrown instanceof CodedError && ['REDIRECT', 'RETRY_ELSEWHERE', 'WRONG_AUDIENCE'].includes(thrown.code);
    throw led ? await parts.ownership.withOwner(thrown, idText(readHeader(requestPayload).envoyId) as EnvoyId) : thrown;
  }
}

/** @throws CodedError as authenticate, BAD_PROOF, BAD_CSR */
export async function renew(request: RenewRequest, parts: RenewParts, address: string): Promise<RenewReply> {
  const signed = codecs.signedRequest.encode({
    payload: Buffer.from(request.signed.payload, 'base64'),
    signature: Buffer.from(request.signed.signature, 'base64'),
  });
  const { slot, payload } = await authenticated(parts, signed, Buffer.from(request.signed.payload, 'base64'));
  const { content_hash: contentHash } = codecs.renewPayload.decode(payload);
  if (!renewContentHash(request.csr, request.sealing_key).equals(contentHash))
    throw new CodedError('BAD_PROOF', 'the signature does not cover this request');
  const { id, hostname } = parts.fleet.view(slot);
  const now = parts.clock.now();
  const certificate = await createEnvoyCertificate(
    parts.identity.siteCa,
    { fleetId: parts.identity.fleetId, envoyId: id },
    request.csr,
    parts.envoyCertDays,
    now,
  );
  await parts.store.transaction(async (tx) => {
    await tx.envoys.update(id, {
      sealingKey: Buffer.from(request.sealing_key, 'base64'),
      certificateExpiresAt: validityOf(certificate).notAfter,
    });
    await parts.trail.record(tx, {
      actor: { kind: 'envoy', id, name: hostname, address },
      event: 'envoy.renewed',
      target: { kind: 'envoy', id, name: hostname },
      outcome: 'ok',
    });
  });
  return {
    certificate: certificate + parts.identity.siteCa.certificate,
    ca_bundle: parts.identity.rootCa,
    delegation: parts.identity.delegation,
  };
}
