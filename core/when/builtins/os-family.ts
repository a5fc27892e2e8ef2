/** `os_family`: the packaging family of the system. */
import { needTrait } from '../facts.ts';
import type { WhenBuiltin } from './builtin.ts';

const SYNONYMS: ReadonlyMap<string, string> = new Map([
  ['redhat', 'rhel'],
  ['darwin', 'macos'],
]);
const BSD: ReadonlySet<string> = new Set(['freebsd', 'openbsd', 'netbsd', 'dragonfly']);
const NOT_LINUX: ReadonlySet<string> = new Set([...BSD, 'macos', 'illumos', 'solaris', 'windows']);

export const OS_FAMILY: WhenBuiltin = {
  name: 'os_family',
  side: 'agent',
  live: false,
  arity: [1, 1],
  usage: "os_family('debian')",
  doc: 'os.family is this family; redhat means rhel, darwin means macos, linux any Linux, bsd any BSD',
  evaluate: ([wanted], facts) => {
    const known = (name: string) => SYNONYMS.get(name.toLowerCase()) ?? name.toLowerCase();
    const family = known(String(needTrait(facts, 'os.family')));
    const asked = known(wanted!);
    if (asked === 'linux') return !NOT_LINUX.has(family);
    return asked === 'bsd' ? BSD.has(family) : asked === family;
  },
};
