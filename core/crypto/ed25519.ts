/**
 * Strict ed25519, the one module that makes and checks signatures: small-order and non-canonical keys, non-canonical S and small-order R are refused
 * (libsodium's rules). node:crypto accepts small-order keys, with which one constant signature verifies every message.
 */
import { createHash, randomBytes } from 'node:crypto';
import sodium from 'sodium-native';
import { CodedError } from '../base/errors.ts';

export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

/** `secretKey` is 64 bytes: seed and public key, as libsodium keeps them. */
export interface SigningKey {
  readonly publicKey: Uint8Array;
  readonly secretKey: Uint8Array;
}

export function signingKeyFromSeed(seed: Uint8Array): SigningKey {
  if (seed.length !== 32) throw new CodedError('WEAK_KEY', 'an ed25519 seed has 32 bytes');
  const publicKey = Buffer.alloc(32);
  const secretKey = Buffer.alloc(64);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
  return { publicKey, secretKey };
}

export function newSigningKey(): SigningKey {
  return signingKeyFromSeed(randomBytes(32));
}

/** 64-byte signature. `secretKey` is the 64-byte form of {@link SigningKey}. */
export function sign(secretKey: Uint8Array, message: Uint8Array): Buffer {
  const signature = Buffer.allocUnsafe(SIGNATURE_BYTES);
  sodium.crypto_sign_detached(signature, message, secretKey);
  return signature;
}

/** False for anything that is not a strict signature, wrong lengths included; never throws. */
export function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  return sodium.crypto_sign_verify_detached(signature, message, publicKey);
}

/** Canonical, on the curve, in the main subgroup, not of small order. */
export function isAcceptablePublicKey(publicKey: Uint8Array): boolean {
  return publicKey.length === PUBLIC_KEY_BYTES && sodium.crypto_core_ed25519_is_valid_point(publicKey);
}

/** @throws CodedError WEAK_KEY */
export function requireAcceptablePublicKey(publicKey: Uint8Array): void {
  if (!isAcceptablePublicKey(publicKey))
    throw new CodedError('WEAK_KEY', 'the ed25519 public key is of small order, not canonical or not on the curve');
}

/** First 8 bytes of SHA-256 of the public key, hex (config.md §13.2). */
export function keyIdOf(publicKey: Uint8Array): string {
  return createHash('sha256').update(publicKey).digest('hex').slice(0, 16);
}

/** SHA-256 of the public key in colon-separated hex, for people. */
export function fingerprintOf(publicKey: Uint8Array): string {
  return createHash('sha256')
    .update(publicKey)
    .digest('hex')
    .replace(/(..)(?=.)/g, '$1:')
    .slice(0, 47);
}
