/** The agent's keys and certificates in its config directory (server.md §1.4). Keys are made once and kept until an enrolment ends. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';
import { isUuid } from '../../core/base/ids.ts';
import { createRequest } from '../../core/crypto/certificate.ts';
import { newSigningKey, requireAcceptablePublicKey, type SigningKey } from '../../core/crypto/ed25519.ts';
import { newSealingKey, type SealingKey, sealingKeyFromPrivate } from '../../core/crypto/hpke.ts';
import { privateKeyBytes, privateKeyPem, readKeyFile, readSigningKey, writeFileDurably, writeKeyFile } from '../../core/crypto/key-file.ts';
import type { TlsIdentity } from '../../core/crypto/tls.ts';

export function agentPaths(configDir: string) {
  const at = (name: string) => join(configDir, name);
  return {
    config: at('config'),
    identityKey: at('identity.key'),
    sealingKey: at('sealing.key'),
    oldSealingKey: at('sealing.old.key'),
    tlsKey: at('tls.key'),
    tlsCertificate: at('tls.pem'),
    caBundle: at('ca-bundle.pem'),
    rootKey: at('root.pub'),
    envoyId: at('envoy-id'),
  } as const;
}

export interface AgentIdentity {
  readonly envoyId: string;
  readonly fleetId: string;
  /** of the enrolment: the site that owns the envoy may be another by now */
  readonly siteId: string;
  /** of the enrolment; absent: 1 */
  readonly ownerEpoch?: number | undefined;
  readonly hostname: string;
  readonly signingKey: SigningKey;
  /** newest first; the older one opens answers that were sealed before a renewal */
  readonly sealingKeys: readonly SealingKey[];
  readonly rootPublicKey: Uint8Array;
  readonly caBundle: string;
  readonly tls: TlsIdentity;
}

export interface EnrollKeys {
  readonly signingKey: SigningKey;
  readonly sealingKey: SealingKey;
  readonly csr: string;
}

/** The keys for an enrolment: those of an unfinished attempt if there are any, so that a lost reply can be asked for again. */
export async function enrollKeys(configDir: string): Promise<EnrollKeys> {
  const paths = agentPaths(configDir);
  mkdirSync(configDir, { recursive: true, mode: 0o700 });
  if (!existsSync(paths.identityKey)) writeKeyFile(paths.identityKey, privateKeyPem('ed25519', newSigningKey().secretKey.subarray(0, 32)));
  if (!existsSync(paths.sealingKey)) writeKeyFile(paths.sealingKey, privateKeyPem('x25519', newSealingKey().privateKey));
  const csrFile = `${paths.tlsKey}.csr`;
  if (!existsSync(paths.tlsKey) || !existsSync(csrFile)) {
    const { csr, privateKey } = await createRequest();
    writeKeyFile(paths.tlsKey, privateKey);
    writeFileDurably(csrFile, csr, 0o600);
  }
  return {
    signingKey: readSigningKey(paths.identityKey),
    sealingKey: readSealingKey(paths.sealingKey),
    csr: readFileSync(csrFile, 'utf8'),
  };
}

export function readSealingKey(file: string): SealingKey {
  return sealingKeyFromPrivate(privateKeyBytes('x25519', readKeyFile(file)));
}

/** The id of an enrolled machine, or undefined. */
export function readEnvoyId(configDir: string): string | undefined {
  const file = agentPaths(configDir).envoyId;
  if (!existsSync(file)) return undefined;
  const id = readFileSync(file, 'utf8').trim();
  return isUuid(id) ? id : undefined;
}

export function hasRootKey(configDir: string): boolean {
  try {
    return readFileSync(agentPaths(configDir).rootKey, 'utf8').trim() !== '';
  } catch {
    // unreadable counts as absent (server.md §4.5)
    return false;
  }
}

/** @throws CodedError NOT_ENROLLED, KEY_FILE_PERMISSIONS, WEAK_KEY */
export function openIdentity(
  configDir: string,
  facts: {
    readonly fleetId: string | undefined;
    readonly siteId: string;
    readonly ownerEpoch?: number | undefined;
    readonly hostname: string;
  },
): AgentIdentity {
  const paths = agentPaths(configDir);
  const envoyId = readEnvoyId(configDir);
  if (envoyId === undefined || facts.fleetId === undefined)
    throw new CodedError('NOT_ENROLLED', `this machine is not enrolled (${configDir})`, {
      hint: 'vigo register --token-file <file>, with a token of vigocli tokens create',
    });
  const rootPublicKey = Buffer.from(readFileSync(paths.rootKey, 'utf8').trim(), 'base64');
  requireAcceptablePublicKey(rootPublicKey);
  const sealingKeys = [readSealingKey(paths.sealingKey), ...(existsSync(paths.oldSealingKey) ? [readSealingKey(paths.oldSealingKey)] : [])];
  return {
    envoyId,
    fleetId: facts.fleetId,
    siteId: facts.siteId,
    ownerEpoch: facts.ownerEpoch,
    hostname: facts.hostname,
    signingKey: readSigningKey(paths.identityKey),
    sealingKeys,
    rootPublicKey,
    caBundle: readFileSync(paths.caBundle, 'utf8'),
    tls: { certificateChain: readFileSync(paths.tlsCertificate, 'utf8'), privateKey: readKeyFile(paths.tlsKey) },
  };
}
