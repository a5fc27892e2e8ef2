/** Secret providers: one contract, and the file format, key and path rules of the local one. */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, describe, expect, test } from '@jest/globals';
import { fileSecrets } from './file.ts';
import { localSecrets, newMasterKey } from './local.ts';
import { isSecretPath, parseSecretRef, type SecretProvider } from './provider.ts';
import { resolveRefs, secretsDigest, versionsOf } from './resolver.ts';

const folder = mkdtempSync(join(tmpdir(), 'vigo-secrets-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const CANARY = 'canary-7c1f0e-secret-value';
const bytes = (text: string) => Buffer.from(text, 'utf8');

let made = 0;
function aLocal() {
  made += 1;
  const dir = join(folder, `${made}`, 'secrets');
  mkdirSync(join(folder, `${made}`), { mode: 0o700 });
  const keyFile = join(folder, `${made}`, 'master.key');
  newMasterKey(keyFile);
  return { dir, keyFile, provider: localSecrets({ dir, keyFile }) };
}

async function collect(paths: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const path of paths) all.push(path);
  return all;
}

describe.each<[string, () => SecretProvider]>([
  ['local', () => aLocal().provider],
  [
    'file',
    () => {
      made += 1;
      return fileSecrets({ dir: join(folder, `plain${made}`), allowInsecureFile: true });
    },
  ],
])('the %s provider', (name, make) => {
  test('keeps, versions, lists and removes', async () => {
    const provider = make();
    await provider.check();
    expect(provider.name).toBe(name);
    expect(await provider.get('db/password')).toBeNull();
    expect(await provider.exists('db/password')).toBeNull();
    await provider.set!('db/password', bytes('one'));
    await provider.set!('web-1.x/tls', Buffer.from([0, 255, 10]));
    const first = await provider.get('db/password');
    expect(Buffer.from(first!.value).toString()).toBe('one');
    expect(await provider.exists('db/password')).toEqual({ version: first!.version });
    await provider.set!('db/password', bytes('two'));
    expect((await provider.get('db/password'))!.version).not.toBe(first!.version);
    expect([...(await provider.get('web-1.x/tls'))!.value]).toEqual([0, 255, 10]);
    expect(await collect(provider.list!(''))).toEqual(['db/password', 'web-1.x/tls']);
    expect(await collect(provider.list!('db/'))).toEqual(['db/password']);
    expect(await provider.remove!('db/password')).toBe(true);
    expect(await provider.remove!('db/password')).toBe(false);
    await expect(provider.get('../master.key')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    await expect(provider.set!('a//b', bytes('x'))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});

describe('a local secret file', () => {
  test('has the documented format, mode 0600, and holds no plain text', async () => {
    const { dir, provider } = aLocal();
    await provider.set!('app/key', bytes(CANARY));
    const file = join(dir, 'app', 'key.vsec');
    const raw = readFileSync(file);
    expect(raw.subarray(0, 5)).toEqual(Buffer.from('VSEC\u0001', 'latin1'));
    expect(raw.length).toBe(4 + 1 + 4 + 12 + CANARY.length + 16);
    expect(raw.includes(CANARY)).toBe(false);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir, 'app')).mode & 0o777).toBe(0o700);
    expect(readdirSync(join(dir, 'app'))).toEqual(['key.vsec']);
    expect(inspect(provider, { depth: 9 })).not.toContain(CANARY);
  });

  test('that was moved, changed, cut or sealed by another key does not open', async () => {
    const { dir, provider } = aLocal();
    await provider.set!('a', bytes(CANARY));
    copyFileSync(join(dir, 'a.vsec'), join(dir, 'b.vsec'));
    await expect(provider.get('b')).rejects.toMatchObject({ code: 'SECRETS_UNAVAILABLE', message: expect.stringContaining('moved') });
    const raw = readFileSync(join(dir, 'a.vsec'));
    for (let at = 0; at < raw.length; at += 1) {
      const changed = Buffer.from(raw);
      changed[at]! ^= 1;
      writeFileSync(join(dir, 'a.vsec'), changed);
      await expect(provider.get('a')).rejects.toMatchObject({ code: 'SECRETS_UNAVAILABLE' });
    }
    writeFileSync(join(dir, 'a.vsec'), raw.subarray(0, 20));
    await expect(provider.get('a')).rejects.toMatchObject({ code: 'SECRETS_UNAVAILABLE' });
    writeFileSync(join(dir, 'a.vsec'), raw);
    const other = aLocal();
    const wrong = localSecrets({ dir, keyFile: other.keyFile });
    await expect(wrong.check()).rejects.toMatchObject({ message: expect.stringContaining('another master key') });
  });

  test('needs a key file that nobody else can read', async () => {
    const { keyFile, provider } = aLocal();
    chmodSync(keyFile, 0o640);
    await expect(provider.check()).rejects.toMatchObject({ code: 'KEY_FILE_PERMISSIONS' });
    chmodSync(keyFile, 0o600);
    writeFileSync(keyFile, 'short');
    await expect(provider.check()).rejects.toMatchObject({ code: 'SECRETS_UNAVAILABLE' });
    rmSync(keyFile);
    await expect(provider.check()).rejects.toMatchObject({ code: 'KEY_FILE_PERMISSIONS' });
  });
});

test('the file provider wants to be allowed', async () => {
  await expect(fileSecrets({ dir: folder, allowInsecureFile: false }).check()).rejects.toMatchObject({ code: 'SETTINGS_INVALID' });
});

test.each([
  ['db/password', { path: 'db/password', field: undefined }],
  ['db/creds#user', { path: 'db/creds', field: 'user' }],
  ['../x', undefined],
  ['a/../b', undefined],
  ['a/', undefined],
  ['/a', undefined],
  ['a//b', undefined],
  ['.a', undefined],
  ['a#', undefined],
  ['a#b c', undefined],
  ['a\0b', undefined],
])('reads the reference %j', (ref, expected) => {
  expect(parseSecretRef(ref)).toEqual(expected);
});

test('a path has at most 256 bytes', () => {
  expect([isSecretPath('a'.repeat(256)), isSecretPath('a'.repeat(257))]).toEqual([true, false]);
});

test('references resolve to masked values, one by one, and a digest follows the versions', async () => {
  const { provider, dir } = aLocal();
  await provider.set!('plain', bytes(CANARY));
  await provider.set!('json', bytes(JSON.stringify({ user: CANARY, port: 5, deep: {} })));
  await provider.set!('binary', Buffer.from([0xff]));
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'broken.vsec'), 'x');
  const refs = ['plain', 'json#user', 'json#port', 'json#deep', 'json#__proto__', 'plain#x', 'gone', 'broken', 'binary', 'a//b'];
  const found = await resolveRefs(provider, refs);
  expect([...found].map(([ref, { status }]) => `${ref} ${status}`)).toEqual([
    'plain ok',
    'json#user ok',
    'json#port ok',
    'json#deep missing',
    'json#__proto__ missing',
    'plain#x missing',
    'gone missing',
    'broken unavailable',
    'binary unavailable',
    'a//b missing',
  ]);
  const user = found.get('json#user')!;
  expect(user.status === 'ok' && user.value.reveal()).toBe(CANARY);
  expect(inspect(found, { depth: 9 }) + JSON.stringify([...found])).not.toContain(CANARY);
  const used = ['plain', 'json#user', 'gone'];
  const before = secretsDigest(used, await versionsOf(provider, used));
  expect(secretsDigest([...used].reverse(), await versionsOf(provider, used))).toBe(before);
  await provider.set!('plain', bytes('other'));
  expect(secretsDigest(used, await versionsOf(provider, used))).not.toBe(before);
});
