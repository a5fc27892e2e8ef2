/** The manifest of a release: what it holds, byte for byte, and the root hash over it (config.md §11.2). */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { compareBytes, type SourceTree } from './source.ts';

export interface ManifestFile {
  readonly path: string;
  readonly mode: '0644' | '0755';
  readonly size: number;
  readonly sha256: string;
}

export const manifestFileSchema = z.object({
  path: z.string().min(1).max(1024),
  mode: z.enum(['0644', '0755']),
  size: z.number().int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

export const manifestSchema = z.object({
  number: z.number().int().positive(),
  /** publish time, YYYYMMDDTHHMMSSZ */
  version: z.string().regex(/^\d{8}T\d{6}Z$/),
  fleet_id: z.string(),
  epoch: z.number().int().nonnegative(),
  author: z.string(),
  approver: z.string().nullable(),
  message: z.string(),
  created_at: z.string(),
  /** root hash of the release before */
  parent: z.string().nullable(),
  rollback_of: z.number().int().positive().nullable(),
  dangerous: z.boolean(),
  break_glass: z.boolean(),
  root: z.string().regex(/^[0-9a-f]{64}$/),
  files: z.array(manifestFileSchema).max(20_000),
});
export type Manifest = z.output<typeof manifestSchema>;

/** One row per file, sorted by the bytes of the path. */
export function buildManifest(tree: SourceTree): readonly ManifestFile[] {
  return [...tree.values()]
    .map(({ path, mode, bytes }) => ({ path, mode, size: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') }))
    .sort((a, b) => compareBytes(a.path, b.path));
}

/** SHA-256 hex over the rows; order of reading, dates and owners have no influence. */
export function rootHash(files: readonly ManifestFile[]): string {
  const hash = createHash('sha256').update('vigo-manifest-v1\n');
  for (const file of files) hash.update(`${file.mode} ${file.size} ${file.sha256} ${file.path}\n`);
  return hash.digest('hex');
}

export function rootOfTree(tree: SourceTree): string {
  return rootHash(buildManifest(tree));
}
