/** Renews the TLS certificate with the identity key; works with an expired certificate, so an agent that was off for a year comes back by itself. */
import { createHash, X509Certificate } from 'node:crypto';
import { copyFileSync } from 'node:fs';
import { renewReplySchema } from '../../core/api/enroll.ts';
import type { Clock } from '../../core/base/clock.ts';
import { idBytes } from '../../core/base/ids.ts';
import { createRequest, isDueForRenewal, validityOf } from '../../core/crypto/certificate.ts';
import { signFor } from '../../core/crypto/domain.ts';
import { newSealingKey } from '../../core/crypto/hpke.ts';
import { httpsCall, problemOf } from '../../core/crypto/https-client.ts';
import { privateKeyPem, writeFileDurably, writeKeyFile } from '../../core/crypto/key-file.ts';
import { codecs } from '../../proto/load.ts';
import type { Home } from '../link/home.ts';
import type { Sequence } from '../link/sequence.ts';
import { type AgentIdentity, agentPaths } from './identity.ts';

export function certificateIsDue(identity: AgentIdentity, now: number): boolean {
  return isDueForRenewal(validityOf(identity.tls.certificateChain), now) || !isOfFleet(identity);
}

/** False when the fleet was succeeded by another since. */
function isOfFleet({ fleetId, tls }: AgentIdentity): boolean {
  return new X509Certificate(tls.certificateChain).subjectAltName?.includes(`spiffe://${fleetId}/`) === true;
}

export function certificateHasEnded(identity: AgentIdentity, now: number): boolean {
  return now > validityOf(identity.tls.certificateChain).notAfter;
}

/** Writes the new certificate and keys; the caller opens the identity again. @throws CodedError UNREACHABLE, REVOKED, … */
export async function renewCertificate(parts: {
  readonly identity: AgentIdentity;
  readonly configDir: string;
  readonly home: Home;
  readonly sequence: Sequence;
  readonly clock: Clock;
  readonly offsetMs: number;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { identity, home, clock } = parts;
  const { csr, privateKey } = await createRequest();
  const sealing = newSealingKey();
  const sealingKey = Buffer.from(sealing.publicKey).toString('base64');
  const payload = codecs.renewPayload.encode({
    header: {
      fleet_id: idBytes(identity.fleetId),
      envoy_id: idBytes(identity.envoyId),
      audience: home.siteId,
      highest_epoch: 0,
      owner_epoch: home.ownerEpoch,
      sequence: await parts.sequence.next(),
      sent_at_ms: clock.now() + parts.offsetMs,
    },
    content_hash: createHash('sha256').update(`${csr}\0${sealingKey}`).digest(),
  });
  const body = JSON.stringify({
    csr,
    sealing_key: sealingKey,
    signed: { payload: payload.toString('base64'), signature: signFor('renew', identity.signingKey, payload).toString('base64') },
  });
  const reply = await httpsCall({
    method: 'POST',
    url: new URL('/api/v1/renew', home.apiUrl),
    headers: { 'content-type': 'application/json' },
    body,
    rootCa: identity.caBundle,
    timeoutMs: 30_000,
    maxBytes: 256 * 1024,
    signal: parts.signal,
  });
  if (reply.status !== 200) throw problemOf(reply);
  const renewed = renewReplySchema.parse(JSON.parse(reply.body.toString('utf8')));
  const paths = agentPaths(parts.configDir);
  copyFileSync(paths.sealingKey, paths.oldSealingKey);
  writeKeyFile(paths.sealingKey, privateKeyPem('x25519', sealing.privateKey));
  writeKeyFile(paths.tlsKey, privateKey);
  writeFileDurably(paths.tlsCertificate, renewed.certificate, 0o600);
}
