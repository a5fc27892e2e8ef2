/** The file provider: plain files, for tests only. The server warns at every start that uses it. */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { CodedError } from '../../core/base/errors.ts';
import { secretFolder } from './folder.ts';
import { requireSecretPath, type SecretProvider } from './provider.ts';

export function fileSecrets(options: { readonly dir: string; readonly allowInsecureFile: boolean }): SecretProvider {
  const folder = secretFolder(options.dir, '');
  const get = async (path: string) => {
    requireSecretPath(path);
    const value = await folder.read(path);
    return value === null ? null : { value, version: createHash('sha256').update(value).digest('hex').slice(0, 16) };
  };
  return {
    name: 'file',
    async check() {
      if (!options.allowInsecureFile)
        throw new CodedError('SETTINGS_INVALID', 'the file provider keeps secrets unencrypted', {
          hint: 'secrets.file.allow_insecure_file: true',
        });
      await mkdir(options.dir, { recursive: true, mode: 0o700 });
    },
    async exists(path) {
      const found = await get(path);
      return found === null ? null : { version: found.version };
    },
    get,
    list: (prefix) => folder.list(prefix),
    set: (path, value) => folder.write(path, value),
    remove: (path) => folder.remove(path),
  };
}
