/** Sealed secrets: HPKE base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM (RFC 9180; config.md §9.4). */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core';

const suite = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });

/** Raw 32-byte keys. */
export interface SealingKey {
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
}

export interface Sealed {
  /** encapsulated key */
  readonly enc: Uint8Array;
  readonly ct: Uint8Array;
}

const PRIVATE_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');

export function newSealingKey(): SealingKey {
  const { privateKey } = generateKeyPairSync('x25519');
  return sealingKeyFromPrivate(privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(-32));
}

export function sealingKeyFromPrivate(privateKey: Uint8Array): SealingKey {
  const key = createPrivateKey({ key: Buffer.concat([PRIVATE_PREFIX, privateKey]), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(-32);
  return { publicKey: Buffer.from(publicKey), privateKey: Buffer.from(privateKey) };
}

const exact = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;

/** @throws when the public key is not a point that X25519 can use */
export async function seal(publicKey: Uint8Array, info: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Promise<Sealed> {
  const recipientPublicKey = await suite.kem.deserializePublicKey(exact(publicKey));
  const { enc, ct } = await suite.seal({ recipientPublicKey, info: exact(info) }, exact(plaintext), exact(aad));
  return { enc: new Uint8Array(enc), ct: new Uint8Array(ct) };
}

/** @throws when key, info, aad or text do not fit */
export async function unseal(key: SealingKey, info: Uint8Array, aad: Uint8Array, sealed: Sealed): Promise<Buffer> {
  const recipientKey = await suite.kem.deserializePrivateKey(exact(key.privateKey));
  const plaintext = await suite.open({ recipientKey, enc: exact(sealed.enc), info: exact(info) }, exact(sealed.ct), exact(aad));
  return Buffer.from(plaintext);
}

/** `vigo/secrets/v1` 0x00 fleet 0x00 envoy 0x00 site */
export function secretsInfo(fleetId: string, envoyId: string, siteId: string): Buffer {
  return Buffer.from(['vigo/secrets/v1', fleetId, envoyId, siteId].join('\0'), 'utf8');
}

/** nonce (16) ‖ body hash (32) ‖ secrets_epoch (u64 big endian) */
export function secretsAad(nonce: Uint8Array, bodyHash: Uint8Array, secretsEpoch: number): Buffer {
  const epoch = Buffer.alloc(8);
  epoch.writeBigUInt64BE(BigInt(secretsEpoch));
  return Buffer.concat([nonce, bodyHash, epoch]);
}
