/** Files below one folder for providers: paths that stay inside, durable writes, listing in order. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf } from '../../core/base/errors.ts';
import { writeFileDurably } from '../../core/crypto/key-file.ts';
import { isSecretPath, requireSecretPath, unavailable } from './provider.ts';

export interface SecretFolder {
  /** null: there is no such file */
  read(path: string): Promise<Buffer | null>;
  write(path: string, bytes: Uint8Array): Promise<void>;
  remove(path: string): Promise<boolean>;
  list(prefix: string): AsyncIterable<string>;
}

function codeOf(thrown: unknown): unknown {
  return (thrown as { code?: unknown }).code;
}

/** A secret `a` and a secret `a/b` live side by side: the ending keeps files and folders apart. */
export function secretFolder(root: string, ending: string): SecretFolder {
  const fileOf = (path: string): string => {
    requireSecretPath(path);
    return join(root, `${path}${ending}`);
  };
  async function* walk(folder: string, below: string): AsyncIterable<string> {
    const entries = await readdir(folder, { withFileTypes: true }).catch((thrown: unknown) => {
      if (codeOf(thrown) === 'ENOENT') return [];
      throw unavailable(`the secrets folder does not read: ${messageOf(thrown)}`, thrown);
    });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) yield* walk(join(folder, entry.name), path);
      else if (entry.isFile() && path.endsWith(ending) && isSecretPath(path.slice(0, path.length - ending.length)))
        yield path.slice(0, path.length - ending.length);
    }
  }
  return {
    async read(path) {
      try {
        return await readFile(fileOf(path));
      } catch (thrown) {
        if (codeOf(thrown) === 'ENOENT' || codeOf(thrown) === 'ENOTDIR') return null;
        if (codeOf(thrown) === undefined || String(codeOf(thrown)).startsWith('BAD')) throw thrown;
        throw unavailable(`the secret file of ${path} does not read: ${messageOf(thrown)}`, thrown);
      }
    },
    async write(path, bytes) {
      const file = fileOf(path);
      await mkdir(dirname(file), { recursive: true, mode: 0o700 });
      writeFileDurably(file, bytes, 0o600);
    },
    async remove(path) {
      try {
        await rm(fileOf(path));
        return true;
      } catch (thrown) {
        if (codeOf(thrown) === 'ENOENT') return false;
        throw thrown;
      }
    },
    async *list(prefix) {
      for await (const path of walk(root, '')) if (path.startsWith(prefix)) yield path;
    },
  };
}
