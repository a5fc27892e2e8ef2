/**
 * Enrols simulated envoys into the data directory of a stopped site, as enrolment would leave them: rows and certificates, but no tokens and no bcrypt, whose cost is
 * not what is simulated. Usage: seed-process.ts <data dir> <first number> <count> <domain> <output> [known]; with `known` nobody gets a certificate, and nobody can connect.
 */
import { writeFileSync } from 'node:fs';
import { newId } from '../../core/base/ids.ts';
import { createEnvoyCertificate, createRequest } from '../../core/crypto/certificate.ts';
import { newSigningKey } from '../../core/crypto/ed25519.ts';
import { newSealingKey } from '../../core/crypto/hpke.ts';
import { dataPaths } from '../../server/identity/paths.ts';
import { openIdentity } from '../../server/identity/server-identity.ts';
import { openDatabase } from '../../server/store/database.ts';
import type { Credentials } from './virtual-envoy.ts';

const BATCH = 500;
const [dataDir, first, count, domain, output, known] = process.argv.slice(2) as [string, string, string, string, string, string?];
const paths = dataPaths(dataDir);
const identity = await openIdentity(paths, { names: { dns: ['localhost'], ips: [] }, certDays: 30, now: Date.now() });
const store = await openDatabase({ driver: 'sqlite', path: paths.database, busyTimeoutMs: 10_000, create: false }, Date.now());
// one TLS key for all: what tells envoys apart is the name in the certificate and the identity key
const request = await createRequest();
const sealing = newSealingKey();
const made: Credentials[] = [];
for (let done = 0; done < Number(count); done += BATCH) {
  await store.transaction(async (tx) => {
    for (let index = done; index < Math.min(Number(count), done + BATCH); index++) {
      const now = Date.now();
      const key = newSigningKey();
      const id = newId(now);
      const hostname = `sim-${String(Number(first) + index).padStart(6, '0')}.${domain}`;
      await tx.envoys.insert({
        id,
        hostname,
        identityKey: key.publicKey,
        sealingKey: sealing.publicKey,
        status: 'active',
        ownerEpoch: 1,
        enrolledAt: now,
        certificateExpiresAt: now + 30 * 86_400_000,
        platform: 'linux/x64',
        agentVersion: 'sim',
        address: '127.0.0.1',
        labels: {},
        reason: '',
      });
      if (known !== undefined) continue;
      const certificate = await createEnvoyCertificate(identity.siteCa, { fleetId: identity.fleetId, envoyId: id }, request.csr, 30, now);
      made.push({
        id,
        hostname,
        secretKey: Buffer.from(key.secretKey).toString('hex'),
        certificate: certificate + identity.siteCa.certificate,
        privateKey: request.privateKey,
      });
    }
  });
}
await store.close();
writeFileSync(
  output,
  JSON.stringify({
    fleet: { fleetId: identity.fleetId, rootCa: identity.rootCa, rootPublicKey: Buffer.from(identity.rootPublicKey).toString('base64') },
    made,
  }),
);
