/** Rows of the publish history (config.md §11.5): from a publish, or rebuilt from a manifest after a crash. */
import type { Manifest, ManifestFile } from '../../core/config/manifest.ts';
import type { ReleaseRow } from '../store/store.ts';

export interface FileChanges {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

export function compareFiles(before: readonly ManifestFile[], after: readonly ManifestFile[]): FileChanges {
  const key = ({ mode, sha256 }: ManifestFile) => `${mode} ${sha256}`;
  const old = new Map(before.map((file) => [file.path, key(file)]));
  const now = new Map(after.map((file) => [file.path, key(file)]));
  return {
    added: [...now.keys()].filter((path) => !old.has(path)),
    changed: [...now].filter(([path, value]) => old.has(path) && old.get(path) !== value).map(([path]) => path),
    removed: [...old.keys()].filter((path) => !now.has(path)),
  };
}

export function historyRow(
  manifest: Manifest,
  more: {
    readonly files: FileChanges;
    readonly entriesAffected: number;
    readonly envoysAffected: number;
    readonly warnings: number;
    readonly skippedUrlCheck: boolean;
  },
): ReleaseRow {
  return {
    number: manifest.number,
    version: manifest.version,
    root: manifest.root,
    author: manifest.author,
    approver: manifest.approver ?? '',
    message: manifest.message,
    createdAt: Date.parse(manifest.created_at),
    files: { added: more.files.added.length, changed: more.files.changed.length, removed: more.files.removed.length },
    entriesAffected: more.entriesAffected,
    envoysAffected: more.envoysAffected,
    warnings: more.warnings,
    flags: [
      ...(manifest.dangerous ? (['dangerous'] as const) : []),
      ...(more.skippedUrlCheck ? (['skip_url_check'] as const) : []),
      ...(manifest.break_glass ? (['break_glass'] as const) : []),
    ],
    rollbackOf: manifest.rollback_of ?? 0,
    result: 'live',
  };
}

/** The publish that wrote it died before its row: what the manifest does not know stays 0. */
export function rebuiltRow(manifest: Manifest, before: readonly ManifestFile[]): ReleaseRow {
  const files = compareFiles(before, manifest.files);
  return historyRow(manifest, { files, entriesAffected: 0, envoysAffected: 0, warnings: 0, skippedUrlCheck: false });
}
