/** Release directories: written once, then never touched (config.md §11.2). */
import { constants } from 'node:fs';
import { chmod, copyFile, link, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import type { Manifest, ManifestFile } from '../../core/config/manifest.ts';
import { openManifest, type ReleaseAuthority, signManifest } from './manifest-signature.ts';

export interface ReleaseDirectory {
  readonly name: string;
  readonly path: string;
  readonly number: number;
}

export interface StoredRelease extends ReleaseDirectory {
  readonly manifest: Manifest;
}

/** Where the bytes of a file lie: linked from `link` where the disk can, else copied from `copy`. */
export type FileSources = (file: ManifestFile) => { readonly link: string | undefined; readonly copy: string };

/** A tree on disk; what the release before has alike at the same path is linked from there. */
export function treeSources(from: string, previous: StoredRelease | undefined): FileSources {
  const before = new Map(previous?.manifest.files.map((file) => [file.path, file.sha256]));
  return ({ path, sha256 }) => ({
    link: previous !== undefined && before.get(path) === sha256 ? join(previous.path, 'tree', path) : undefined,
    copy: join(from, path),
  });
}

const NAME = /^(\d{6,})-[0-9a-f]{12}$/;
/** Half-written releases carry this prefix until they are whole. */
const UNFINISHED = '.new-';

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export { syncPath };

export function releaseName(number: number, root: string): string {
  return `${String(number).padStart(6, '0')}-${root.slice(0, 12)}`;
}

/** Removes a release although its directories are read-only. */
export async function removeRelease(path: string): Promise<void> {
  const open = async (directory: string): Promise<void> => {
    await chmod(directory, 0o750);
    for (const item of await readdir(directory, { withFileTypes: true })) if (item.isDirectory()) await open(join(directory, item.name));
  };
  try {
    await open(path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
  }
  await rm(path, { recursive: true, force: true });
}

export class ReleaseFolder {
  readonly #folder: string;
  readonly #authority: ReleaseAuthority;

  constructor(folder: string, authority: ReleaseAuthority) {
    this.#folder = folder;
    this.#authority = authority;
  }

  /** newest first */
  async list(): Promise<readonly ReleaseDirectory[]> {
    await mkdir(this.#folder, { recursive: true, mode: 0o750 });
    return (await readdir(this.#folder))
      .flatMap((name) => {
        const number = NAME.exec(name)?.[1];
        return number === undefined ? [] : [{ name, path: join(this.#folder, name), number: Number(number) }];
      })
      .sort((a, b) => b.number - a.number);
  }

  async byNumber(number: number): Promise<ReleaseDirectory | undefined> {
    return (await this.list()).find((release) => release.number === number);
  }

  /** Its manifest, signature checked; hashes of the files are not looked at here. @throws CodedError RELEASE_INVALID */
  async open(directory: ReleaseDirectory): Promise<StoredRelease> {
    let texts: [string, string];
    try {
      texts = [await readFile(join(directory.path, 'manifest.json'), 'utf8'), await readFile(join(directory.path, 'manifest.sig'), 'utf8')];
    } catch (thrown) {
      throw new CodedError('RELEASE_INVALID', `release ${directory.name} has no readable manifest`, { cause: thrown });
    }
    const manifest = openManifest(this.#authority, ...texts);
    if (manifest.number !== directory.number || releaseName(manifest.number, manifest.root) !== directory.name)
      throw new CodedError('RELEASE_INVALID', `release ${directory.name} holds the manifest of another release`);
    return { ...directory, manifest };
  }

  /** Half-written releases of an earlier life. */
  async removeUnfinished(): Promise<void> {
    for (const name of await readdir(this.#folder)) if (name.startsWith(UNFINISHED)) await removeRelease(join(this.#folder, name));
  }

  /**
   * Writes a whole release beside its final name and renames it: it is there entirely or not at all.
   * @param signature of another server, as it came; without it this server signs
   * @throws the error of the disk; nothing is left behind then
   */
  async write(manifest: Manifest, sources: FileSources, signature?: string): Promise<StoredRelease> {
    const name = releaseName(manifest.number, manifest.root);
    const work = join(this.#folder, `${UNFINISHED}${name}`);
    try {
      await removeRelease(work);
      await this.#fill(work, manifest, sources, signature ?? signManifest(this.#authority, manifest));
      await rename(work, join(this.#folder, name));
      await syncPath(this.#folder);
    } catch (thrown) {
      await removeRelease(work);
      throw thrown;
    }
    return { name, path: join(this.#folder, name), number: manifest.number, manifest };
  }

  async #fill(work: string, manifest: Manifest, sources: FileSources, signature: string): Promise<void> {
    const tree = join(work, 'tree');
    await mkdir(tree, { recursive: true, mode: 0o750 });
    const directories = new Set([work, tree]);
    for (const file of manifest.files) {
      const target = join(tree, file.path);
      for (let directory = dirname(target); !directories.has(directory); directory = dirname(directory)) {
        await mkdir(directory, { recursive: true, mode: 0o750 });
        directories.add(directory);
      }
      const source = sources(file);
      if (source.link === undefined || !(await this.#linked(source.link, target))) await this.#copied(source.copy, target);
    }
    await this.#written(join(work, 'manifest.json'), canonicalBytes(manifest));
    await this.#written(join(work, 'manifest.sig'), Buffer.from(signature));
    for (const directory of [...directories].sort((a, b) => b.length - a.length)) {
      await chmod(directory, 0o550);
      await syncPath(directory);
    }
  }

  /** false where links cannot be made; the file is copied then */
  async #linked(existing: string, target: string): Promise<boolean> {
    try {
      await link(existing, target);
      return true;
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'EXDEV' || code === 'EPERM' || code === 'EMLINK') return false;
      throw thrown;
    }
  }

  async #copied(source: string, target: string): Promise<void> {
    await copyFile(source, target, constants.COPYFILE_EXCL);
    await chmod(target, 0o440);
    await syncPath(target);
  }

  async #written(target: string, bytes: Uint8Array): Promise<void> {
    const handle = await open(target, 'wx', 0o440);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}
