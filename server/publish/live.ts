/** `live`: a symbolic link to the current release, replaced by one rename. */
import { readlink, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { syncPath } from './releases.ts';

export class LiveLink {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** name of the release directory; undefined before the first publish */
  async read(): Promise<string | undefined> {
    try {
      return basename(await readlink(this.#path));
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException;
      if (code === 'ENOENT') return undefined;
      throw thrown;
    }
  }

  /** Old or new, never neither: a reader always finds a whole release. */
  async pointTo(name: string): Promise<void> {
    const next = `${this.#path}.new`;
    await rm(next, { force: true });
    await symlink(`releases/${name}`, next);
    await rename(next, this.#path);
    await syncPath(dirname(this.#path));
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
    await syncPath(dirname(this.#path));
  }

  async cleanUp(): Promise<void> {
    await rm(`${this.#path}.new`, { force: true });
  }
}
