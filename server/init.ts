/** `vigosrv init`: makes a new site in an empty data directory, keys first, settings file last. */
import { cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/errors.ts';
import { newId } from '../core/base/ids.ts';
import { writeFileDurably, writeKeyFile } from '../core/crypto/key-file.ts';
import { certificateNames } from './addresses.ts';
import { dataPaths } from './identity/paths.ts';
import { createIdentity } from './identity/server-identity.ts';
import { makeSpokeKeys } from './identity/spoke-keys.ts';
import { readSettings } from './settings.ts';
import { openDatabase } from './store/database.ts';

/** Where `init` puts the join token of a spoke; what server.yaml then names. */
export const JOIN_TOKEN = 'join.token';

export interface InitOptions {
  readonly dataDir: string;
  readonly hostname: string;
  readonly admin: string;
  readonly offlineRoot: string | undefined;
  /** lets it write beside what is there already, keys and database excepted */
  readonly forceEmpty: boolean;
  /** tree to start with, or undefined for an empty stage */
  readonly exampleTree: string | undefined;
  /** of a spoke: kept in the data directory until the first start has used it */
  readonly joinToken?: string | undefined;
  /** keys of server.yaml beside server.hostname */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly clock: Clock;
}

/** Empty for a spoke: it receives its root at the join. */
export interface InitResult {
  readonly fleetPin: string;
  readonly rootFingerprint: string;
}

/** @throws CodedError DATA_DIR_LOCKED (exit 4) for a directory that is not empty: nothing is touched */
export async function initSite(options: InitOptions): Promise<InitResult> {
  const { dataDir, clock } = options;
  const paths = dataPaths(dataDir);
  const present = existsSync(dataDir) ? readdirSync(dataDir).filter((name) => name !== 'lost+found') : [];
  if (present.length > 0 && (!options.forceEmpty || existsSync(paths.keys) || existsSync(paths.database))) {
    throw new CodedError('DATA_DIR_LOCKED', `${dataDir} is not empty`, { hint: 'choose another --data-dir; nothing was touched' });
  }
  mkdirSync(dataDir, { recursive: true, mode: 0o750 });
  const text = stringify({
    server: { hostname: options.hostname, ...(options.settings['server'] as object | undefined) },
    ...without(options.settings, 'server'),
  });
  const parsed = readSettings(text, { file: paths.settings, hostname: options.hostname });
  if (!parsed.ok) throw new CodedError('SETTINGS_INVALID', parsed.problems.map(({ message }) => message).join('; '));
  for (const dir of [paths.stage, paths.releases, paths.audit, paths.temp, join(paths.database, '..')])
    mkdirSync(dir, { recursive: true, mode: 0o750 });
  for (const dir of [paths.secrets, paths.run]) mkdirSync(dir, { recursive: true, mode: 0o700 });
  const isSpoke = parsed.settings.spanner.role === 'spoke';
  if (isSpoke) await makeSpokeKeys(paths);
  const { pin, rootFingerprint } = isSpoke
    ? { pin: '', rootFingerprint: '' }
    : await createIdentity(paths, {
        siteId: parsed.settings.server.site_id,
        names: certificateNames(parsed.settings),
        certDays: parsed.settings.server.tls.server_cert_days,
        now: clock.now(),
        offlineRoot: options.offlineRoot,
      });
  if (options.joinToken !== undefined) writeKeyFile(join(dataDir, JOIN_TOKEN), options.joinToken);
  const now = clock.now();
  const { database } = parsed.settings;
  const store = await openDatabase(
    database.driver === 'postgres'
      ? { driver: 'postgres', url: database.url ?? '', pool: database.pool }
      : { driver: 'sqlite', path: paths.database, busyTimeoutMs: database.busy_timeout, create: true },
    now,
  );
  try {
    await store.users.add({
      id: newId(now),
      username: options.admin,
      displayName: '',
      email: '',
      role: 'admin',
      enabled: true,
      passwordHash: '',
      scope: {},
      createdAt: now,
      lastLoginAt: 0,
    });
  } finally {
    await store.close();
  }
  if (options.exampleTree !== undefined) cpSync(options.exampleTree, paths.stage, { recursive: true });
  writeFileDurably(paths.settings, text, 0o640);
  return { fleetPin: pin, rootFingerprint };
}

function without(record: Readonly<Record<string, unknown>>, key: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== key));
}
