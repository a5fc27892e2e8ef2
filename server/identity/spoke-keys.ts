/** Keys of a spoke: it makes its own, without a root, and becomes a server of the fleet when a hub's answer lies in the fleet file. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JoinReply } from '../../core/api/spanner-join.ts';
import { createRequest, createRequestFor } from '../../core/crypto/certificate.ts';
import type { SignedRecord } from '../../core/crypto/delegation.ts';
import { newSigningKey, type SigningKey } from '../../core/crypto/ed25519.ts';
import { privateKeyPem, readKeyFile, readSigningKey, writeFileDurably, writeKeyFile } from '../../core/crypto/key-file.ts';
import type { DataPaths } from './paths.ts';

/** Makes what is missing; keys that are there stay, so that a join can be repeated. */
export async function makeSpokeKeys(paths: DataPaths): Promise<void> {
  for (const dir of [paths.keys, paths.tls]) mkdirSync(dir, { recursive: true, mode: 0o700 });
  const make = async (file: string, text: () => Promise<string> | string) => {
    if (!existsSync(file)) writeKeyFile(file, await text());
  };
  await make(join(paths.keys, 'server.key'), () => privateKeyPem('ed25519', newSigningKey().secretKey.subarray(0, 32)));
  await make(join(paths.tls, 'site-ca.key'), async () => (await createRequest()).privateKey);
  await make(join(paths.tls, 'server.key'), async () => (await createRequest()).privateKey);
  await make(join(paths.keys, 'ticket.key'), () => `${randomBytes(48).toString('hex')}\n`);
  await make(paths.masterKey, () => `${randomBytes(32).toString('hex')}\n`);
}

export async function spokeRequest(paths: DataPaths): Promise<{ readonly serverKey: SigningKey; readonly caRequest: string }> {
  return {
    serverKey: readSigningKey(join(paths.keys, 'server.key')),
    caRequest: await createRequestFor(readKeyFile(join(paths.tls, 'site-ca.key'))),
  };
}

export const hasJoined = (paths: DataPaths): boolean => existsSync(join(paths.keys, 'fleet.json'));

/** A renewed delegation, in place of the one of the fleet file. */
export function keepDelegation(paths: DataPaths, delegation: SignedRecord): void {
  const file = join(paths.keys, 'fleet.json');
  const fleet = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileDurably(file, `${JSON.stringify({ ...fleet, delegation }, null, 2)}\n`, 0o640);
}

/** The fleet file comes last: with it the spoke has joined. */
export function keepJoined(paths: DataPaths, reply: JoinReply): void {
  writeFileDurably(join(paths.tls, 'root-ca.pem'), reply.root_ca, 0o644);
  writeFileDurably(join(paths.tls, 'ca-bundle.pem'), reply.root_ca, 0o644);
  writeFileDurably(join(paths.tls, 'site-ca.pem'), reply.site_ca, 0o644);
  if (reply.revoked.length > 0) mkdirSync(join(paths.keys, 'revoked'), { recursive: true, mode: 0o700 });
  for (const [index, record] of reply.revoked.entries())
    writeFileDurably(join(paths.keys, 'revoked', `joined-${index}.json`), `${JSON.stringify(record)}\n`, 0o640);
  const fleet = {
    fleet_id: reply.fleet_id,
    site_id: reply.site_id,
    server_id: reply.server_id,
    epoch: reply.epoch,
    root_public_key: reply.root_public_key,
    delegation: reply.delegation,
    hub_site: reply.hub_site,
  };
  writeFileDurably(join(paths.keys, 'fleet.json'), `${JSON.stringify(fleet, null, 2)}\n`, 0o640);
}
