/** A private copy of the stage: what is validated is what is published, whatever happens to `stacks/` meanwhile. */
import { mkdir, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { buildManifest, rootHash } from '../../core/config/manifest.ts';
import { readTree } from '../../core/config/read-tree.ts';
import type { Operations } from './messages.ts';

async function writeOne(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode);
  try {
    await handle.writeFile(bytes);
    await handle.chmod(mode);
  } finally {
    await handle.close();
  }
}

/** Copies the published files of `from` into `to`, which must not exist. */
export async function copyTree(from: string, to: string): Promise<Operations['stage']['answer']> {
  const { tree, problems } = await readTree(from);
  await mkdir(to, { recursive: true, mode: 0o750 });
  const made = new Set<string>();
  for (const { path, bytes, mode } of tree.values()) {
    const target = join(to, path);
    const directory = dirname(target);
    if (!made.has(directory)) await mkdir(directory, { recursive: true, mode: 0o750 });
    made.add(directory);
    await writeOne(target, bytes, mode === '0755' ? 0o750 : 0o640);
  }
  const files = buildManifest(tree);
  return { root: rootHash(files), files, problems };
}

export async function removeTree(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}
