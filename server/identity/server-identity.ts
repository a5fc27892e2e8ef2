/** The keys of fleet, site and server: made once by `vigosrv init`, read and checked at every start. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { newId } from '../../core/base/ids.ts';
import {
  type CertifiedKey,
  createRootCa,
  createServerCertificate,
  createSiteCa,
  isDueForRenewal,
  publicKeyPin,
  validityOf,
} from '../../core/crypto/certificate.ts';
import {
  assertUsable,
  DELEGATION_SCOPES,
  openDelegation,
  openRevocation,
  type SignedRecord,
  signDelegation,
} from '../../core/crypto/delegation.ts';
import { fingerprintOf, keyIdOf, newSigningKey, type SigningKey } from '../../core/crypto/ed25519.ts';
import { privateKeyPem, readKeyFile, readSigningKey, writeFileDurably, writeKeyFile } from '../../core/crypto/key-file.ts';
import type { Succession } from '../../core/crypto/succession.ts';
import type { TlsIdentity } from '../../core/crypto/tls.ts';
import type { DataPaths } from './paths.ts';

const DAY_MS = 86_400_000;
const DELEGATION_DAYS = 90;

const fleetSchema = z.object({
  fleet_id: z.string(),
  site_id: z.string(),
  server_id: z.string(),
  epoch: z.number().int().positive(),
  /** raw 32 bytes, base64 */
  root_public_key: z.string(),
  delegation: z.object({ record: z.string(), signature: z.string() }),
  /** of a spoke: the site of its hub, learnt at the join */
  hub_site: z.string().optional(),
});
type FleetFile = z.output<typeof fleetSchema>;

export interface ServerIdentity {
  readonly fleetId: string;
  readonly siteId: string;
  readonly serverId: string;
  readonly epoch: number;
  readonly rootPublicKey: Uint8Array;
  readonly serverKey: SigningKey;
  readonly keyId: string;
  /** replaced when it is renewed */
  delegation: SignedRecord;
  /** of a server that came from another fleet: the word of its former root, for envoys that still believe that one */
  readonly succession: { readonly signed: SignedRecord; readonly fleetId: string; readonly siteId: string } | undefined;
  /** of a spoke: the site of its hub */
  readonly hubSite: string | undefined;
  /** root-signed records of `keys/revoked/*.json`: handed to every agent; grows while the server runs ({@link Revocations}) */
  readonly revocations: SignedRecord[];
  readonly rootCa: string;
  /** SHA-256 of the root CA's public key, hex */
  readonly rootPin: string;
  readonly siteCa: CertifiedKey;
  /** chain: server, site CA, root CA (the root is shown so that first contact can be pinned) */
  readonly tls: TlsIdentity;
}

const ownerOnly = (path: string) => mkdirSync(path, { recursive: true, mode: 0o700 });

/** Makes fleet, root, site and server keys in an empty data directory. */
export async function createIdentity(
  paths: DataPaths,
  options: {
    readonly siteId: string;
    readonly names: { readonly dns: readonly string[]; readonly ips: readonly string[] };
    readonly certDays: number;
    readonly now: number;
    readonly offlineRoot?: string | undefined;
  },
): Promise<{ readonly pin: string; readonly rootFingerprint: string }> {
  const { now } = options;
  const fleetId = newId(now);
  const serverId = newId(now);
  ownerOnly(paths.keys);
  ownerOnly(paths.tls);
  const rootDir = options.offlineRoot;
  if (rootDir !== undefined) ownerOnly(rootDir);
  const root = newSigningKey();
  const server = newSigningKey();
  const rootCa = await createRootCa(fleetId, now);
  const siteCa = await createSiteCa(rootCa, options.siteId, now);
  const certificate = await createServerCertificate(siteCa, { fleetId, serverId, ...options.names }, options.certDays, now);
  const fleet: FleetFile = {
    fleet_id: fleetId,
    site_id: options.siteId,
    server_id: serverId,
    epoch: 1,
    root_public_key: Buffer.from(root.publicKey).toString('base64'),
    delegation: delegate(root, { fleetId, siteId: options.siteId, serverId, publicKey: server.publicKey, epoch: 1, now }),
  };
  writeKeyFile(join(rootDir ?? paths.keys, 'root.key'), privateKeyPem('ed25519', root.secretKey.subarray(0, 32)));
  writeKeyFile(join(rootDir ?? paths.tls, 'root-ca.key'), rootCa.privateKey);
  writeKeyFile(join(paths.keys, 'server.key'), privateKeyPem('ed25519', server.secretKey.subarray(0, 32)));
  writeKeyFile(join(paths.tls, 'site-ca.key'), siteCa.privateKey);
  writeKeyFile(join(paths.tls, 'server.key'), certificate.privateKey);
  writeKeyFile(join(paths.keys, 'ticket.key'), `${randomBytes(48).toString('hex')}\n`);
  writeFileDurably(join(paths.tls, 'root-ca.pem'), rootCa.certificate, 0o644);
  writeFileDurably(join(paths.tls, 'site-ca.pem'), siteCa.certificate, 0o644);
  writeFileDurably(join(paths.tls, 'server.pem'), certificate.certificate, 0o644);
  writeFileDurably(join(paths.tls, 'ca-bundle.pem'), rootCa.certificate, 0o644);
  writeKeyFile(paths.masterKey, `${randomBytes(32).toString('hex')}\n`);
  writeFileDurably(join(paths.keys, 'fleet.json'), `${JSON.stringify(fleet, null, 2)}\n`, 0o640);
  return { pin: publicKeyPin(rootCa.certificate), rootFingerprint: fingerprintOf(root.publicKey) };
}

function delegate(
  root: SigningKey,
  a: { fleetId: string; siteId: string; serverId: string; publicKey: Uint8Array; epoch: number; now: number },
): SignedRecord {
  return signDelegation(root, {
    fleet_id: a.fleetId,
    site_id: a.siteId,
    server_id: a.serverId,
    public_key: Buffer.from(a.publicKey).toString('base64'),
    scopes: [...DELEGATION_SCOPES],
    epoch: a.epoch,
    may_promote: true,
    not_before: a.now - 10 * 60_000,
    not_after: a.now + DELEGATION_DAYS * DAY_MS,
    serial: newId(a.now),
  });
}

function readFleet(paths: DataPaths): FleetFile {
  const file = join(paths.keys, 'fleet.json');
  try {
    return fleetSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw new CodedError('KEY_FILE_PERMISSIONS', `the fleet file ${file} is missing or damaged`, {
      cause,
      hint: 'restore keys/ from a backup; vigosrv init makes a new fleet only in an empty directory',
    });
  }
}

/** Delegations live 90 days and are renewed at two thirds, where the root key is at hand. */
function renewDelegation(paths: DataPaths, fleet: FleetFile, serverKey: SigningKey, now: number): FleetFile {
  const rootKeyFile = join(paths.keys, 'root.key');
  const { not_before: notBefore, not_after: notAfter } = JSON.parse(fleet.delegation.record) as { not_before: number; not_after: number };
  if (!isDueForRenewal({ notBefore, notAfter }, now) || !existsSync(rootKeyFile)) return fleet;
  const delegation = delegate(readSigningKey(rootKeyFile), {
    fleetId: fleet.fleet_id,
    siteId: fleet.site_id,
    serverId: fleet.server_id,
    publicKey: serverKey.publicKey,
    epoch: fleet.epoch,
    now,
  });
  const renewed = { ...fleet, delegation };
  writeFileDurably(join(paths.keys, 'fleet.json'), `${JSON.stringify(renewed, null, 2)}\n`, 0o640);
  return renewed;
}

async function currentCertificate(
  paths: DataPaths,
  siteCa: CertifiedKey,
  fleet: FleetFile,
  names: { readonly dns: readonly string[]; readonly ips: readonly string[] },
  days: number,
  now: number,
): Promise<CertifiedKey> {
  const file = join(paths.tls, 'server.pem');
  const privateKey = readKeyFile(join(paths.tls, 'server.key'));
  // a spoke that has just joined has none yet
  const certificate = existsSync(file) ? readFileSync(file, 'utf8') : undefined;
  if (certificate !== undefined && !isDueForRenewal(validityOf(certificate), now)) return { certificate, privateKey };
  const renewed = await createServerCertificate(
    siteCa,
    { fleetId: fleet.fleet_id, serverId: fleet.server_id, ...names },
    days,
    now,
    privateKey,
  );
  writeFileDurably(file, renewed.certificate, 0o644);
  return renewed;
}

/** What `vigosrv sign-delegation --revoke` wrote, put into `keys/revoked/`. @throws CodedError BUNDLE_REJECTED for a record that the root key did not sign */
function readRevocations(
  paths: DataPaths,
  rootPublicKey: Uint8Array,
): readonly { readonly serial: string; readonly signed: SignedRecord }[] {
  const folder = join(paths.keys, 'revoked');
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .sort();
  return files.map((name) => {
    const signed = z.object({ record: z.string(), signature: z.string() }).parse(JSON.parse(readFileSync(join(folder, name), 'utf8')));
    return { serial: openRevocation(rootPublicKey, signed).serial, signed };
  });
}

function readSuccession(paths: DataPaths): ServerIdentity['succession'] {
  const file = join(paths.keys, 'succession.json');
  if (!existsSync(file)) return undefined;
  const signed = z.object({ record: z.string(), signature: z.string() }).parse(JSON.parse(readFileSync(file, 'utf8')));
  const { former_fleet_id: fleetId, former_site_id: siteId } = JSON.parse(signed.record) as Succession;
  return { signed, fleetId, siteId };
}

/** Reads everything, refuses readable private keys and a delegation that does not hold, renews what is due. @throws CodedError KEY_FILE_PERMISSIONS, BUNDLE_REJECTED */
export async function openIdentity(
  paths: DataPaths,
  options: {
    readonly names: { readonly dns: readonly string[]; readonly ips: readonly string[] };
    readonly certDays: number;
    readonly now: number;
  },
): Promise<ServerIdentity> {
  const serverKey = readSigningKey(join(paths.keys, 'server.key'));
  readKeyFile(paths.masterKey);
  for (const optional of [join(paths.keys, 'root.key'), join(paths.tls, 'root-ca.key')]) if (existsSync(optional)) readKeyFile(optional);
  const fleet = renewDelegation(paths, readFleet(paths), serverKey, options.now);
  const rootPublicKey = Buffer.from(fleet.root_public_key, 'base64');
  const trusted = openDelegation(rootPublicKey, fleet.fleet_id, fleet.delegation);
  const revoked = readRevocations(paths, rootPublicKey);
  // a spoke that had no hub for long gets its new delegation over the link: for that it must start
  const now = fleet.hub_site === undefined ? options.now : Math.min(options.now, trusted.delegation.not_after);
  assertUsable(trusted, {
    scope: 'bundle',
    now,
    revokedSerials: new Set(revoked.map(({ serial }) => serial)),
    siteId: fleet.site_id,
  });
  if (trusted.keyId !== keyIdOf(serverKey.publicKey))
    throw new CodedError('BUNDLE_REJECTED', 'keys/server.key is not the key of the delegation in keys/fleet.json');
  const siteCa = {
    certificate: readFileSync(join(paths.tls, 'site-ca.pem'), 'utf8'),
    privateKey: readKeyFile(join(paths.tls, 'site-ca.key')),
  };
  const rootCa = readFileSync(join(paths.tls, 'root-ca.pem'), 'utf8');
  const own = await currentCertificate(paths, siteCa, fleet, options.names, options.certDays, options.now);
  return {
    fleetId: fleet.fleet_id,
    siteId: fleet.site_id,
    serverId: fleet.server_id,
    epoch: fleet.epoch,
    rootPublicKey,
    serverKey,
    keyId: trusted.keyId,
    delegation: fleet.delegation,
    hubSite: fleet.hub_site,
    succession: readSuccession(paths),
    revocations: revoked.map(({ signed }) => signed),
    rootCa,
    rootPin: publicKeyPin(rootCa),
    siteCa,
    tls: { certificateChain: own.certificate + siteCa.certificate + rootCa, privateKey: own.privateKey },
  };
}
