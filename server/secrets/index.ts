/** The secret providers, by the name that `secrets.backend` uses. */
import { resolve } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';
import type { Settings } from '../settings/schema.ts';
import { fileSecrets } from './file.ts';
import { localSecrets } from './local.ts';
import type { SecretProvider } from './provider.ts';

const providers: Readonly<Record<string, (settings: Settings['secrets'], dataDir: string) => SecretProvider>> = {
  file: ({ file }, dataDir) =>
    fileSecrets({ dir: resolve(dataDir, file?.dir ?? ''), allowInsecureFile: file?.allow_insecure_file ?? false }),
  local: ({ secrets_dir, key_file }, dataDir) => localSecrets({ dir: resolve(dataDir, secrets_dir), keyFile: resolve(dataDir, key_file) }),
};

/** @throws CodedError SETTINGS_INVALID for a backend that this build lacks */
export function openSecrets(settings: Settings['secrets'], dataDir: string): SecretProvider {
  const make = providers[settings.backend];
  if (make === undefined)
    throw new CodedError('SETTINGS_INVALID', `secrets.backend ${settings.backend} is not part of this build`, {
      hint: `there are ${Object.keys(providers).join(', ')}`,
    });
  return make(settings, dataDir);
}
