/** A manifest as the difference to one that the other side has: of a thousand files with one changed, one row travels. */
import { z } from 'zod';
import { type Manifest, manifestFileSchema, manifestSchema } from './manifest.ts';
import { compareBytes } from './source.ts';

export const manifestDeltaSchema = z.object({
  /** root hash of the manifest that this one stands on; null: `changed` is all of it */
  base: z.string().nullable(),
  head: manifestSchema.omit({ files: true }),
  changed: z.array(manifestFileSchema).max(20_000),
  removed: z.array(z.string().max(1024)).max(20_000),
});
export type ManifestDelta = z.output<typeof manifestDeltaSchema>;

export function manifestDelta(base: Pick<Manifest, 'root' | 'files'> | undefined, manifest: Manifest): ManifestDelta {
  const { files, ...head } = manifest;
  if (base === undefined) return { base: null, head, changed: [...files], removed: [] };
  const before = new Map(base.files.map((file) => [file.path, file]));
  const now = new Set(files.map(({ path }) => path));
  return {
    base: base.root,
    head,
    changed: files.filter((file) => {
      const known = before.get(file.path);
      return known === undefined || known.sha256 !== file.sha256 || known.mode !== file.mode || known.size !== file.size;
    }),
    removed: base.files.map(({ path }) => path).filter((path) => !now.has(path)),
  };
}

/** The whole manifest again. Whether it is the one that was signed, the signature tells. */
export function applyManifestDelta(base: Pick<Manifest, 'files'> | undefined, delta: ManifestDelta): Manifest {
  const files = new Map((delta.base === null ? [] : (base?.files ?? [])).map((file) => [file.path, file]));
  for (const path of delta.removed) files.delete(path);
  for (const file of delta.changed) files.set(file.path, file);
  return { ...delta.head, files: [...files.values()].sort((a, b) => compareBytes(a.path, b.path)) };
}
