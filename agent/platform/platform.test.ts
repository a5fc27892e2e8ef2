/** Backends against what this machine really has; only looking. */
import { readFileSync } from 'node:fs';
import { expect, jest } from '@jest/globals';
import { testUnless } from '../../test/harness/where.ts';
import { choosePlatform } from '../system/choose-platform.ts';
import { LocalSystem } from '../system/local-system.ts';

// real processes: patience for a busy machine
jest.setTimeout(60_000);

const platform = await choosePlatform(new LocalSystem());
const withApt = testUnless(platform.packages?.name === 'apt' ? undefined : 'this machine has no apt');
const withShadow = testUnless(platform.accounts === undefined ? 'this machine has no account database that we know' : undefined);

withApt('apt knows what is installed, what is not, what is held and what could be newer', async () => {
  const packages = platform.packages!;
  const version = await packages.installed('dpkg');
  expect(version).toMatch(/^\d/);
  expect(await packages.installed('no-such-package-here')).toBeUndefined();
  expect((await packages.list())['dpkg']).toBe(version);
  expect(await packages.held('dpkg')).toBe(false);
  expect(await packages.upgrades(['no-such-package-here'])).toEqual(new Map());
});

withShadow('accounts are read as the files have them', async () => {
  const accounts = platform.accounts!;
  const [name, , uid, gid, , home, shell] = readFileSync('/etc/passwd', 'utf8').split('\n')[0]!.split(':');
  expect(await accounts.user(name!)).toMatchObject({ name, uid: Number(uid), gid: Number(gid), home, shell });
  expect(await accounts.user('no-such-user-here')).toBeUndefined();
  expect(await accounts.group('root')).toMatchObject({ gid: 0 });
  expect(await accounts.group('0')).toMatchObject({ name: 'root' });
});
