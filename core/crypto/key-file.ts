/** Private keys on disk: PKCS#8 PEM, 0600 in a 0700 directory, refused when anybody else can read them. */
import { chmodSync, closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { CodedError } from '../base/errors.ts';
import { type SigningKey, signingKeyFromSeed } from './ed25519.ts';

/** RFC 8410: the fixed DER prefix of a PKCS#8 key, before the 32 key bytes. */
const PREFIX = {
  ed25519: Buffer.from('302e020100300506032b657004220420', 'hex'),
  x25519: Buffer.from('302e020100300506032b656e04220420', 'hex'),
} as const;
export type KeyKind = keyof typeof PREFIX;

export function privateKeyPem(kind: KeyKind, bytes: Uint8Array): string {
  const base64 = Buffer.concat([PREFIX[kind], bytes]).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${base64}\n-----END PRIVATE KEY-----\n`;
}

/** The 32 key bytes. @throws CodedError BAD_REQUEST */
export function privateKeyBytes(kind: KeyKind, pem: string): Buffer {
  const match = /-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----/.exec(pem);
  const der = Buffer.from(match?.[1] ?? '', 'base64');
  if (der.length !== 48 || !der.subarray(0, 16).equals(PREFIX[kind])) throw new CodedError('BAD_REQUEST', `not a PKCS#8 ${kind} key`);
  return der.subarray(16);
}

/** @throws CodedError KEY_FILE_PERMISSIONS */
export function assertPrivate(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new CodedError('KEY_FILE_PERMISSIONS', `the key file ${path} is missing`);
  const mode = stat.mode & 0o777;
  if ((mode & 0o077) !== 0) {
    throw new CodedError('KEY_FILE_PERMISSIONS', `the key file ${path} has mode 0${mode.toString(8)}: group or others can read it`, {
      hint: `chmod 600 ${path}, and think about who may have read it`,
    });
  }
}

/** @throws CodedError KEY_FILE_PERMISSIONS */
export function readKeyFile(path: string): string {
  assertPrivate(path);
  return readFileSync(path, 'utf8');
}

/** Temp file, fsync, rename, fsync of the directory. */
export function writeFileDurably(path: string, data: string | Uint8Array, mode: number): void {
  const temp = `${path}.${process.pid}.tmp`;
  const fd = openSync(temp, 'w', mode);
  try {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  chmodSync(temp, mode);
  renameSync(temp, path);
  const dir = openSync(dirname(path), 'r');
  try {
    fsyncSync(dir);
  } finally {
    closeSync(dir);
  }
}

export function writeKeyFile(path: string, pem: string): void {
  writeFileDurably(path, pem, 0o600);
}

export function readSigningKey(path: string): SigningKey {
  return signingKeyFromSeed(privateKeyBytes('ed25519', readKeyFile(path)));
}
