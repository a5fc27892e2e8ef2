/** Is a path, however it is written, protected, or above something protected? Text only: links are resolved by the agent. */
import { compileGlob } from '../base/glob.ts';
import type { ProtectedSet } from './protected.ts';

/** `..`, `.`, `//`, back-slashes, case, trailing dots and blanks, `/proc/<pid>/root`, `\\?\` and `%ProgramData%` taken away. */
export function normalPath(path: string): string {
  let text = path
    .trim()
    .replaceAll('\\', '/')
    .replace(/^\/\/[?.]\//, '')
    .toLowerCase()
    .replace(/^(%programdata%|%allusersprofile%|\$env:programdata)/, 'c:/programdata')
    .replace(/^(%programfiles%|\$env:programfiles)/, 'c:/program files');
  const parts: string[] = [];
  for (const raw of text.split('/')) {
    const part = raw === '..' ? raw : raw.replace(/[. ]+$/, '');
    if (part === '' || (part === '' && raw !== '')) continue;
    if (part === '..') parts.pop();
    else parts.push(part);
  }
  while (parts[0] === 'proc' && (parts[2] === 'root' || (parts[2] === 'task' && parts[4] === 'root')))
    parts.splice(0, parts[2] === 'root' ? 3 : 5);
  if (parts[0] === 'private' && (parts[1] === 'etc' || parts[1] === 'var' || parts[1] === 'tmp')) parts.shift();
  text = parts.join('/');
  return /^[a-z]:/.test(text) ? text : `/${text}`;
}

/** One component of a written path against a real name: wildcards and 8.3 short names count as equal when they could mean it. */
function partFits(written: string, real: string): boolean {
  if (written === real) return true;
  const short = /^([^~]{1,6})~\d/.exec(written);
  if (short !== null) return real.replaceAll(/[ .]/g, '').startsWith(short[1]!);
  if (!/[*?[{]/.test(written)) return false;
  if (written.includes('{')) return true;
  try {
    return compileGlob(written).matches(real);
  } catch {
    // a pattern that is none for us may be one for a shell
    return true;
  }
}

export type Relation = 'inside' | 'above' | 'apart';

interface SplitSet {
  readonly paths: readonly (readonly string[])[];
  readonly exceptions: readonly (readonly string[])[];
}

const SPLIT = new WeakMap<ProtectedSet, SplitSet>();

/** The set's own paths, normalised once. */
function splitSet(set: ProtectedSet): SplitSet {
  let split = SPLIT.get(set);
  if (split === undefined) {
    const parts = (paths: readonly string[]) => paths.map((path) => normalPath(path).split('/'));
    split = { paths: parts(set.paths), exceptions: parts(set.exceptions) };
    SPLIT.set(set, split);
  }
  return split;
}

function relate(a: readonly string[], b: readonly string[]): Relation {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (!(a[i] === b[i] || partFits(a[i]!, b[i]!))) return 'apart';
  return a.length >= b.length ? 'inside' : 'above';
}

/** `inside`: in the set or below it; `above`: something protected lies below it. */
export function relationTo(path: string, set: ProtectedSet): Relation {
  const normal = normalPath(path);
  if (normal === '/') return 'above';
  const written = normal.split('/');
  const { paths, exceptions } = splitSet(set);
  let result: Relation = 'apart';
  for (const real of paths) {
    const relation = relate(written, real);
    if (relation === 'inside') {
      if (!exceptions.some((free) => relate(written, free) === 'inside')) return 'inside';
    } else if (relation === 'above') result = 'above';
  }
  return result;
}
