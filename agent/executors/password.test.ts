/** Passwords against the real tools of this machine. */
import { expect, jest, test } from '@jest/globals';
import { LocalSystem } from '../system/local-system.ts';
import { hashPassword, passwordMatches } from './password.ts';

// real processes: patience for a busy machine
jest.setTimeout(60_000);

const system = new LocalSystem();

test.each(['geheim', 'with blanks and "quotes" $(id)', "ünï'cödé \u{1F511}", '-dash', 'x'.repeat(100)])(
  '%s matches its own hash and no other',
  async (word) => {
    const hash = await hashPassword(system, word);
    expect(hash).toMatch(/^\$6\$[./A-Za-z0-9]{8,16}\$[./A-Za-z0-9]{86}$/);
    expect(await passwordMatches(system, word, hash)).toBe(true);
    expect(await passwordMatches(system, `${word}x`, hash)).toBe(false);
    expect(await hashPassword(system, word)).not.toBe(hash);
  },
);

/** Made by crypt(3) of Debian 12: `perl -e 'print crypt("geheim", '$y$j9T$F5Jx5fExrKuPp53xLKQ..1$')'` and so on. */
test.each(['$y$j9T$F5Jx5fExrKuPp53xLKQ..1$', '$6$rounds=5000$abcdefgh$', '$5$abcdefgh$', '$1$abcdefgh$', '$2b$05$abcdefghijklmnopqrstuu'])(
  'hashes of the form %s are compared with their own salt',
  async (setting) => {
    const { stdout } = await system.run(['perl', '-e', 'print crypt("geheim", $ARGV[0])', setting]);
    expect(stdout.startsWith(setting)).toBe(true);
    expect(await passwordMatches(system, 'geheim', stdout)).toBe(true);
    expect(await passwordMatches(system, 'Geheim', stdout)).toBe(false);
  },
);

test('a finished hash is compared as it is, and no stored hash matches nothing', async () => {
  expect(await passwordMatches(system, '$6$a$b', '$6$a$b')).toBe(true);
  expect(await passwordMatches(system, '$6$a$b', '$6$a$c')).toBe(false);
  expect(await passwordMatches(system, 'x', undefined)).toBe(false);
});
