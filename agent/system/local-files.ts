/** Files of the real machine: every write is whole or not at all, and never follows a link that somebody laid in the way. */
import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import * as fs from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';
import { atPlace, type Place, readHonestly } from './honest-path.ts';
import { LocalNames } from './local-names.ts';
import type { FileStat, FileSystem, WriteAttributes } from './system.ts';

/** undefined instead of an error for "nothing there". */
async function orMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw thrown;
  }
}

/** Whether a process with this number runs. */
export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function kindOf(stats: Stats): FileStat['kind'] {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  return stats.isSymbolicLink() ? 'symlink' : 'other';
}

export class LocalFiles implements FileSystem {
  protected readonly users = new LocalNames('passwd');
  readonly #groups = new LocalNames('group');

  async stat(path: string): Promise<FileStat | undefined> {
    const stats = await orMissing(fs.lstat(path));
    if (stats === undefined) return undefined;
    return {
      kind: kindOf(stats),
      mode: stats.mode & 0o7777,
      owner: await this.users.nameOf(stats.uid),
      group: await this.#groups.nameOf(stats.gid),
      size: stats.size,
      modifiedAt: Math.floor(stats.mtimeMs),
      identity: `${stats.dev}:${stats.ino}`,
    };
  }

  async readFile(path: string): Promise<Buffer | undefined> {
    return await orMissing(readHonestly(path));
  }

  writeFile(path: string, data: Buffer | string, attributes: WriteAttributes): Promise<void> {
    return atPlace(path, (place) => this.#write(place.path, path, data, attributes));
  }

  async #write(path: string, name: string, data: Buffer | string, attributes: WriteAttributes): Promise<void> {
    const now = await orMissing(fs.lstat(path));
    const kept = now?.isFile() === true ? now : undefined;
    if (now?.isDirectory() === true) throw new CodedError('BLOCKED', `${name} is a directory`);
    const { uid, gid } = await this.#ids(attributes);
    await this.#sweep(path);
    const temporary = this.#temporary(path);
    const handle = await fs.open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    try {
      await handle.writeFile(data);
      const owner = uid ?? kept?.uid;
      const group = gid ?? kept?.gid;
      if (owner !== undefined || group !== undefined)
        await handle.chown(owner ?? process.getuid?.() ?? 0, group ?? process.getgid?.() ?? 0);
      await handle.chmod(attributes.mode ?? (kept === undefined ? 0o644 : kept.mode & 0o7777));
      await handle.sync();
      await handle.close();
      await fs.rename(temporary, path);
    } catch (thrown) {
      await handle.close().catch(() => undefined); // closing twice is harmless; the first error is the one that matters
      await fs.rm(temporary, { force: true });
      if ((thrown as NodeJS.ErrnoException).code !== 'EBUSY') throw thrown;
      throw new CodedError('BLOCKED', `${name} is a mount of its own and cannot be replaced as a whole`, { cause: thrown });
    }
    await this.#syncFolder(dirname(path));
  }

  setAttributes(path: string, attributes: WriteAttributes): Promise<void> {
    return atPlace(path, (place) => this.#setAttributes(place, path, attributes));
  }

  async #setAttributes({ path, stranger }: Place, name: string, attributes: WriteAttributes): Promise<void> {
    const { uid, gid } = await this.#ids(attributes);
    const stats = await fs.lstat(path);
    // a second name of a file of somebody else: giving it away here would give it away there
    if (stranger !== undefined && stats.isFile() && stats.nlink > 1 && stats.uid !== stranger)
      throw new CodedError('BLOCKED', `${name} is a hard link, in a folder of another account, to a file that is not that account's`);
    if (uid !== undefined || gid !== undefined) await fs.lchown(path, uid ?? stats.uid, gid ?? stats.gid);
    if (stats.isSymbolicLink()) return;
    // a change of owner takes set-id bits away, so the mode comes last, through a handle that follows no link
    const mode = attributes.mode ?? (uid === undefined && gid === undefined ? undefined : stats.mode & 0o7777);
    if (mode === undefined) return;
    if (!stats.isFile() && !stats.isDirectory()) return await fs.chmod(path, mode);
    const handle = await fs.open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      await handle.chmod(mode);
    } finally {
      await handle.close();
    }
  }

  async makeDirectory(path: string, attributes: WriteAttributes): Promise<void> {
    await this.#makeParents(path);
    const made = await atPlace(path, async (place) => {
      const isNew = (await orMissing(fs.lstat(place.path))) === undefined;
      if (isNew) await fs.mkdir(place.path, { mode: 0o700 });
      return isNew;
    });
    await this.setAttributes(path, { ...attributes, ...(made && attributes.mode === undefined ? { mode: 0o755 } : {}) });
  }

  async #makeParents(path: string): Promise<void> {
    const parent = dirname(path);
    if (parent === path || (await orMissing(fs.stat(parent))) !== undefined) return;
    await this.#makeParents(parent);
    await atPlace(parent, (place) => fs.mkdir(place.path, { recursive: true, mode: 0o755 }));
  }

  async readLink(path: string): Promise<string | undefined> {
    try {
      return await orMissing(fs.readlink(path));
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'EINVAL') return undefined;
      throw thrown;
    }
  }

  makeLink(path: string, to: string, kind: 'symbolic' | 'hard'): Promise<void> {
    return atPlace(path, (place) => this.#link(place.path, to, kind));
  }

  async #link(path: string, to: string, kind: 'symbolic' | 'hard'): Promise<void> {
    const temporary = this.#temporary(path);
    await (kind === 'hard' ? fs.link(to, temporary) : fs.symlink(to, temporary));
    try {
      await fs.rename(temporary, path);
    } finally {
      await fs.rm(temporary, { force: true }); // rename does nothing when both names are one file already
    }
    await this.#syncFolder(dirname(path));
  }

  async list(path: string): Promise<readonly string[]> {
    return ((await orMissing(fs.readdir(path))) ?? []).sort();
  }

  async remove(path: string): Promise<void> {
    await orMissing(
      atPlace(path, async (place) => {
        const stats = await fs.lstat(place.path);
        await (stats.isDirectory() ? fs.rm(place.path, { recursive: true, force: true }) : fs.unlink(place.path));
      }),
    );
  }

  async realPath(path: string): Promise<string> {
    const real = await orMissing(fs.realpath(path));
    if (real !== undefined) return real;
    // a dangling link still says where a write would land
    const to = await this.readLink(path).catch(() => undefined); // loops and foreign file systems: the name itself is all there is
    const parent = dirname(path);
    if (parent === path) return path;
    const realParent = await this.realPath(parent);
    if (to === undefined) return join(realParent, basename(path));
    const target = to.startsWith('/') ? to : join(realParent, to);
    return target === path ? path : await this.realPath(target);
  }

  async space(path: string): Promise<{ free: number; used: number; total: number }> {
    const { bsize, blocks, bfree, bavail } = await fs.statfs(path);
    return { free: bavail * bsize, used: (blocks - bfree) * bsize, total: blocks * bsize };
  }

  async #ids({ owner, group }: WriteAttributes): Promise<{ uid: number | undefined; gid: number | undefined }> {
    return {
      uid: owner === undefined ? undefined : await this.users.idOf(owner),
      gid: group === undefined ? undefined : await this.#groups.idOf(group),
    };
  }

  #temporary(path: string): string {
    return join(dirname(path), `.${basename(path).slice(0, 150)}.vigo-${process.pid}-${randomBytes(6).toString('hex')}`);
  }

  /** Removes what a killed process left beside the file. */
  async #sweep(path: string): Promise<void> {
    const prefix = `.${basename(path).slice(0, 150)}.vigo-`;
    for (const name of await this.list(dirname(path))) {
      const pid = name.startsWith(prefix) ? /^(\d+)-[0-9a-f]{12}$/.exec(name.slice(prefix.length))?.[1] : undefined;
      if (pid !== undefined && !isAlive(Number(pid))) await fs.rm(join(dirname(path), name), { force: true });
    }
  }

  async #syncFolder(path: string): Promise<void> {
    const handle = await fs.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await handle.sync();
    } catch {
      // some file systems cannot sync a directory; the rename is still whole
    } finally {
      await handle.close();
    }
  }
}
