/** A site for measuring: a data directory with enrolled envoys, put into the store directly because enrolment is not what is measured. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../core/base/clock.ts';
import { newId } from '../core/base/ids.ts';
import { createEnvoyCertificate, createRequest } from '../core/crypto/certificate.ts';
import { newSigningKey } from '../core/crypto/ed25519.ts';
import { newSealingKey } from '../core/crypto/hpke.ts';
import { dataPaths } from '../server/identity/paths.ts';
import { openIdentity } from '../server/identity/server-identity.ts';
import { initSite } from '../server/init.ts';
import { openDatabase } from '../server/store/database.ts';

export interface BenchEnvoy {
  readonly id: string;
  readonly hostname: string;
  /** 64 bytes, hex */
  readonly secretKey: string;
  readonly certificate: string;
  readonly privateKey: string;
}

export interface BenchSite {
  readonly dataDir: string;
  readonly fleetId: string;
  readonly siteId: string;
  readonly rootCa: string;
  readonly envoys: readonly BenchEnvoy[];
}

/** @param keyed how many of the envoys can really connect (a certificate costs a millisecond each) */
export async function makeSite(
  dir: string,
  envoys: number,
  keyed: number,
  settings: Readonly<Record<string, unknown>> = {},
  name = `site-${envoys}`,
): Promise<BenchSite> {
  const dataDir = join(dir, name);
  const server = { grpc_listen: '127.0.0.1:0', api_listen: '127.0.0.1:0', threads: 1 };
  await initSite({
    dataDir,
    hostname: 'localhost',
    admin: 'admin',
    offlineRoot: undefined,
    forceEmpty: false,
    exampleTree: undefined,
    settings: { server, ...settings },
    clock: systemClock,
  });
  const paths = dataPaths(dataDir);
  const identity = await openIdentity(paths, { names: { dns: ['localhost'], ips: [] }, certDays: 30, now: Date.now() });
  const store = await openDatabase({ driver: 'sqlite', path: paths.database, busyTimeoutMs: 10_000, create: false }, Date.now());
  const made: BenchEnvoy[] = [];
  const request = await createRequest();
  const sealing = newSealingKey();
  const now = Date.now();
  for (let first = 0; first < envoys; first += 1_000) {
    await store.transaction(async (tx) => {
      for (let i = first; i < Math.min(envoys, first + 1_000); i++) {
        const key = newSigningKey();
        const id = newId(now + i);
        const hostname = `host-${String(i).padStart(6, '0')}.example.com`;
        await tx.envoys.insert({
          id,
          hostname,
          identityKey: key.publicKey,
          sealingKey: sealing.publicKey,
          status: 'active',
          ownerEpoch: 1,
          enrolledAt: now,
          certificateExpiresAt: now + 86_400_000,
          platform: 'linux/x64',
          agentVersion: '0',
          address: '127.0.0.1',
          labels: {},
          reason: '',
        });
        if (made.length >= keyed) continue;
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
  mkdirSync(dir, { recursive: true });
  const site = { dataDir, fleetId: identity.fleetId, siteId: identity.siteId, rootCa: identity.rootCa, envoys: made };
  writeFileSync(join(dataDir, 'bench-site.json'), JSON.stringify(site));
  return site;
}

export function readSite(dataDir: string): BenchSite {
  return JSON.parse(readFileSync(join(dataDir, 'bench-site.json'), 'utf8')) as BenchSite;
}
