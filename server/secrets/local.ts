/**
 * The local provider: one AES-256-GCM file a secret, bound to its path. `VSEC` 0x01, key id (4), nonce (12), ciphertext, tag (16); the path is the
 * additional data, so that a file moved to another path does not open.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { CodedError } from '../../core/base/errors.ts';
import { readKeyFile, writeKeyFile } from '../../core/crypto/key-file.ts';
import { secretFolder } from './folder.ts';
import { requireSecretPath, type SecretProvider, unavailable } from './provider.ts';

const MAGIC = Buffer.from('VSEC\u0001', 'latin1');
const KEY_ID_BYTES = 4;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = MAGIC.length + KEY_ID_BYTES + NONCE_BYTES;
const ENDING = '.vsec';

function keyIdOf(key: Uint8Array): Buffer {
  return createHash('sha256').update('vigo-secrets-key').update(key).digest().subarray(0, KEY_ID_BYTES);
}

function seal(key: Uint8Array, path: string, value: Uint8Array): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(Buffer.from(path, 'utf8'));
  return Buffer.concat([MAGIC, keyIdOf(key), nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()]);
}

function open(key: Uint8Array, path: string, file: Buffer): Buffer {
  if (file.length < HEAD_BYTES + TAG_BYTES || !file.subarray(0, MAGIC.length).equals(MAGIC))
    throw unavailable(`the secret file of ${path} is damaged: it does not begin as one`);
  if (!file.subarray(MAGIC.length, MAGIC.length + KEY_ID_BYTES).equals(keyIdOf(key)))
    throw unavailable(`the secret file of ${path} was sealed with another master key`);
  const decipher = createDecipheriv('aes-256-gcm', key, file.subarray(HEAD_BYTES - NONCE_BYTES, HEAD_BYTES));
  decipher.setAAD(Buffer.from(path, 'utf8'));
  decipher.setAuthTag(file.subarray(file.length - TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(file.subarray(HEAD_BYTES, file.length - TAG_BYTES)), decipher.final()]);
  } catch (cause) {
    throw unavailable(`the secret file of ${path} does not open: it was changed, or moved from another path`, cause);
  }
}

function versionOf(file: Buffer): string {
  return createHash('sha256').update(file).digest('hex').slice(0, 16);
}

/** 32 random bytes as hex, 0600. */
export function newMasterKey(keyFile: string): void {
  writeKeyFile(keyFile, `${randomBytes(32).toString('hex')}\n`);
}

/** @throws CodedError KEY_FILE_PERMISSIONS, SECRETS_UNAVAILABLE */
function readMasterKey(keyFile: string): Buffer {
  const text = readKeyFile(keyFile).trim();
  const owner = statSync(keyFile).uid;
  const self = process.getuid?.();
  if (self !== undefined && owner !== self)
    throw new CodedError('KEY_FILE_PERMISSIONS', `the key file ${keyFile} belongs to user ${owner}, the server runs as ${self}`, {
      hint: `chown ${self} ${keyFile}`,
    });
  if (!/^[0-9a-f]{64}$/i.test(text)) throw unavailable(`the key file ${keyFile} does not hold 32 bytes as hex`);
  return Buffer.from(text, 'hex');
}

export function localSecrets(options: { readonly dir: string; readonly keyFile: string }): SecretProvider {
  const folder = secretFolder(options.dir, ENDING);
  let cached: Buffer | undefined;
  const key = (): Buffer => {
    cached ??= readMasterKey(options.keyFile);
    return cached;
  };
  return {
    name: 'local',
    async check() {
      cached = undefined;
      key();
      await mkdir(options.dir, { recursive: true, mode: 0o700 });
      // one file is opened, so that a wrong key is seen at the start
      for await (const path of folder.list('')) {
        const file = await folder.read(path);
        if (file !== null) open(key(), path, file).fill(0);
        break;
      }
    },
    async exists(path) {
      requireSecretPath(path);
      const file = await folder.read(path);
      return file === null ? null : { version: versionOf(file) };
    },
    async get(path) {
      requireSecretPath(path);
      const file = await folder.read(path);
      return file === null ? null : { value: open(key(), path, file), version: versionOf(file) };
    },
    list: (prefix) => folder.list(prefix),
    async set(path, value) {
      requireSecretPath(path);
      await folder.write(path, seal(key(), path, value));
    },
    remove: (path) => folder.remove(path),
  };
}
