/** What the root signs for a spoke: its delegation and its intermediate CA. The root is used here and nowhere else at run time, and may be away. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';
import { newId } from '../../core/base/ids.ts';
import { createSiteCaFor } from '../../core/crypto/certificate.ts';
import { type SignedRecord, SPOKE_SCOPES, signDelegation, signRevocation } from '../../core/crypto/delegation.ts';
import { readKeyFile, readSigningKey } from '../../core/crypto/key-file.ts';
import type { DataPaths } from './paths.ts';

const DAY_MS = 86_400_000;
const DELEGATION_DAYS = 90;

/** @throws CodedError NOT_READY */
function rootFile(paths: DataPaths, folder: 'keys' | 'tls', name: string): string {
  const file = join(paths[folder], name);
  if (!existsSync(file))
    throw new CodedError('NOT_READY', `the root key is not on this hub: ${folder}/${name} is missing`, {
      hint: `bring ${name} from where it is kept, for as long as spokes join, renew or are removed`,
      retryAfterSeconds: 60,
    });
  return file;
}

export interface SpokeServer {
  readonly fleetId: string;
  readonly siteId: string;
  readonly serverId: string;
  readonly publicKey: Uint8Array;
  readonly epoch: number;
}

/** @throws CodedError NOT_READY without the root key */
export function delegateSpoke(paths: DataPaths, spoke: SpokeServer, now: number): SignedRecord {
  return signDelegation(readSigningKey(rootFile(paths, 'keys', 'root.key')), {
    fleet_id: spoke.fleetId,
    site_id: spoke.siteId,
    server_id: spoke.serverId,
    public_key: Buffer.from(spoke.publicKey).toString('base64'),
    scopes: [...SPOKE_SCOPES],
    epoch: spoke.epoch,
    may_promote: false,
    not_before: now - 10 * 60_000,
    not_after: now + DELEGATION_DAYS * DAY_MS,
    serial: newId(now),
  });
}

/** @throws CodedError NOT_READY without the root CA's key, BAD_CSR */
export async function certifySiteCa(paths: DataPaths, siteId: string, csr: string, now: number): Promise<string> {
  const privateKey = readKeyFile(rootFile(paths, 'tls', 'root-ca.key'));
  return await createSiteCaFor({ certificate: readFileSync(join(paths.tls, 'root-ca.pem'), 'utf8'), privateKey }, siteId, csr, now);
}

/** @throws CodedError NOT_READY without the root key */
export function revokeSerial(paths: DataPaths, fleetId: string, serial: string, now: number): SignedRecord {
  return signRevocation(readSigningKey(rootFile(paths, 'keys', 'root.key')), { fleet_id: fleetId, serial, at: now });
}
