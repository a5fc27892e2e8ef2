/** A configuration tree as values: path → bytes. Where the bytes come from is read-tree.ts or a release. */
import type { Problem } from '../base/problem.ts';

export interface SourceFile {
  /** relative to the tree root, `/` separators, NFC */
  readonly path: string;
  readonly bytes: Uint8Array;
  /** `0755` when the owner may execute it */
  readonly mode: '0644' | '0755';
}

export type SourceTree = ReadonlyMap<string, SourceFile>;

/** config.md §21. */
export const TREE_LIMITS = {
  vgoBytes: 1024 ** 2,
  templateBytes: 4 * 1024 ** 2,
  treeBytes: 256 * 1024 ** 2,
  files: 20_000,
  depth: 32,
  pathBytes: 1024,
} as const;

/** Top-level directories with a meaning of their own; deeper down these names are ordinary. */
export const LIBRARY_DIRECTORIES = ['modules', 'configcrates', 'configcrate'] as const;
export const FLOW_DIRECTORIES = ['tasks', 'workflows', 'schedules', 'queries'] as const;
export const RESERVED_DIRECTORIES: readonly string[] = [...LIBRARY_DIRECTORIES, ...FLOW_DIRECTORIES, 'templates', 'vars', 'roles'];

/** Names that are neither parsed nor published (config.md §1.3). */
export function isIgnoredName(name: string): boolean {
  return (
    name.startsWith('.') ||
    name.endsWith('~') ||
    name.endsWith('.swp') ||
    name.endsWith('.vgo.example') ||
    (name.length > 1 && name.startsWith('#') && name.endsWith('#'))
  );
}

/** A file belongs to the tree when it is `.vgo`, or anything in `templates/`; ignored names never do. */
export function isPublished(path: string): boolean {
  const names = path.split('/');
  if (names.some(isIgnoredName)) return false;
  return (names.length > 1 && names[0] === 'templates') || path.endsWith('.vgo');
}

/** Characters a name in the tree must not have: they would break manifests, archives or terminals. */
export function hasForbiddenCharacter(name: string): boolean {
  return /[\u0000-\u001f\u007f-\u009f\\\ufffd]/.test(name) || !name.isWellFormed();
}

/** Byte order of UTF-8, which is not the order of UTF-16 code units. */
export function compareBytes(a: string, b: string): number {
  return /^[\u0000-\u007f]*$/.test(a) && /^[\u0000-\u007f]*$/.test(b)
    ? a < b
      ? -1
      : a > b
        ? 1
        : 0
    : Buffer.compare(Buffer.from(a), Buffer.from(b));
}

export function limitProblem(message: string, file?: string): Problem {
  return { rule: 'LIMIT-1', severity: 'error', message, ...(file === undefined ? {} : { at: { file, line: 1, column: 1 } }) };
}
