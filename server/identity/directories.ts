/** Makes the folders of the data directory, refuses open ones, empties what is temporary. */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';
import { type DataPaths, dataPaths } from './paths.ts';

/** @throws CodedError KEY_FILE_PERMISSIONS */
export function prepareDirectories(dataDir: string): DataPaths {
  const paths = dataPaths(dataDir);
  if (statSync(paths.keys, { throwIfNoEntry: false }) === undefined) {
    throw new CodedError('KEY_FILE_PERMISSIONS', `${dataDir} holds no keys`, { hint: 'make a new site with: vigosrv init' });
  }
  for (const [dir, mode] of [
    [paths.keys, 0o700],
    [paths.tls, 0o700],
    [paths.secrets, 0o700],
    [paths.run, 0o700],
    [paths.audit, 0o750],
    [paths.temp, 0o750],
    [paths.stage, 0o750],
    [paths.releases, 0o750],
    [join(paths.database, '..'), 0o750],
  ] as const) {
    mkdirSync(dir, { recursive: true, mode });
  }
  for (const dir of [paths.keys, paths.tls, paths.secrets]) {
    if ((statSync(dir).mode & 0o077) !== 0)
      throw new CodedError('KEY_FILE_PERMISSIONS', `others can look into ${dir}`, { hint: `chmod 700 ${dir}` });
  }
  for (const name of readdirSync(paths.temp)) rmSync(join(paths.temp, name), { recursive: true, force: true });
  return paths;
}
