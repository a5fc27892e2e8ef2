/** Passwords against stored hashes, through the machine's own crypt(3); clear text goes through standard input only. */
import { timingSafeEqual } from 'node:crypto';
import { CodedError } from '../../core/base/errors.ts';
import type { System } from '../system/system.ts';

/** A finished hash in the form of crypt(5). */
const CRYPT_HASH = /^\$(1|2[abxy]?|5|6|7|y|gy)\$[^:\s]+$/;
/** Both lines come from standard input, so that neither is in the list of processes. */
const PERL_CRYPT = 'my $word = <STDIN>; my $salt = <STDIN>; chomp($word, $salt); print crypt($word, $salt) // q()';

export function isPasswordHash(text: string): boolean {
  return CRYPT_HASH.test(text);
}

/** Whether the wanted password (or finished hash) is what is stored. */
export async function passwordMatches(system: System, wanted: string, stored: string | undefined): Promise<boolean> {
  if (stored === undefined) return false;
  const again = isPasswordHash(wanted) ? wanted : await rehash(system, wanted, stored);
  const [a, b] = [Buffer.from(again ?? ''), Buffer.from(stored)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** What to store for the wanted password: SHA-512 crypt with a fresh salt. */
export async function hashPassword(system: System, wanted: string): Promise<string> {
  if (isPasswordHash(wanted)) return wanted;
  if (await system.hasCommand('openssl'))
    return (await system.run(['openssl', 'passwd', '-6', '-stdin'], { stdin: `${wanted}\n` })).stdout.trim();
  if (await system.hasCommand('mkpasswd'))
    return (await system.run(['mkpasswd', '--method=sha-512', '--stdin'], { stdin: `${wanted}\n` })).stdout.trim();
  throw new CodedError('UNSUPPORTED', 'neither openssl nor mkpasswd is there to hash a password');
}

/** undefined: no tool here knows the form of the stored hash. */
async function rehash(system: System, wanted: string, stored: string): Promise<string | undefined> {
  const parts = /^\$([156])\$((?:rounds=\d+\$)?[^$]*)\$/.exec(stored);
  if (parts !== null && (await system.hasCommand('openssl')))
    return (await system.run(['openssl', 'passwd', `-${parts[1]}`, '-salt', parts[2]!, '-stdin'], { stdin: `${wanted}\n` })).stdout.trim();
  if (!(await system.hasCommand('perl'))) return undefined;
  const { code, stdout } = await system.run(['perl', '-e', PERL_CRYPT], { stdin: `${wanted}\n${stored}\n`, okCodes: 'any' });
  return code === 0 && stdout !== '' ? stdout : undefined;
}
