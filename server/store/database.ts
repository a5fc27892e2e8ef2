/** Opens the store on SQLite or PostgreSQL and brings it up to date. */
import { copyFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Kysely, sql } from 'kysely';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import { auditStore, checkpointStore } from './audit-log.ts';
import { counterStore } from './counters.ts';
import { drainStore } from './drains.ts';
import { envoyStore } from './envoys.ts';
import { migrate } from './migrate.ts';
import type { DialectName, Migration } from './migrations/migration.ts';
import { moveStore } from './moves.ts';
import { ownershipStore } from './ownerships.ts';
import { permitStore } from './permits.ts';
import { parsePostgresUrl, postgresDialect } from './postgres-dialect.ts';
import { releaseStore } from './releases.ts';
import { rolloutStore } from './rollouts.ts';
import { rosterLogStore, rosterStore } from './roster.ts';
import { runStore } from './runs.ts';
import type { Schema } from './schema.ts';
import { siteAuditStore } from './site-audit.ts';
import { siteStore } from './sites.ts';
import { sqliteDialect } from './sqlite-dialect.ts';
import { openSqliteFile } from './sqlite-file.ts';
import type { Store, Tables } from './store.ts';
import { tokenStore } from './tokens.ts';
import { traitsStore } from './traits.ts';
import { apiTokenStore, userStore } from './users.ts';

export type DatabaseOptions =
  | {
      readonly driver: 'sqlite';
      readonly path: string;
      readonly busyTimeoutMs: number /** only `vigosrv init` */;
      readonly create: boolean;
    }
  | { readonly driver: 'postgres'; readonly url: string; readonly pool: number; readonly ca?: string | undefined };

function tables(db: Kysely<Schema>, dialect: DialectName): Tables {
  return {
    envoys: envoyStore(db, dialect),
    ownerships: ownershipStore(db),
    permits: permitStore(db),
    traits: traitsStore(db),
    tokens: tokenStore(db),
    runs: runStore(db),
    audit: auditStore(db, dialect),
    checkpoints: checkpointStore(db),
    releases: releaseStore(db),
    rollouts: rolloutStore(db),
    siteAudit: siteAuditStore(db),
    counters: counterStore(db, dialect === 'postgres' ? 'greatest' : 'max'),
    drains: drainStore(db),
    moves: moveStore(db),
    roster: rosterStore(db),
    rosterLog: rosterLogStore(db),
    apiTokens: apiTokenStore(db),
    users: userStore(db),
    sites: siteStore(db),
  };
}

async function migrated(db: Kysely<Schema>, dialect: DialectName, options: Parameters<typeof migrate>[2]): Promise<void> {
  try {
    await migrate(db, dialect, options);
  } catch (thrown) {
    await db.destroy();
    if (thrown instanceof CodedError) throw thrown;
    throw new CodedError('DATABASE_FAILED', `the database does not migrate: ${messageOf(thrown)}`, { cause: thrown });
  }
}

function storeOn(db: Kysely<Schema>, dialect: DialectName, extra: Pick<Store, 'snapshot' | 'sizeBytes'>): Store {
  let closed: Promise<void> | undefined;
  return {
    ...tables(db, dialect),
    ...extra,
    transaction: (work) => db.transaction().execute((tx) => work(tables(tx, dialect))),
    close: () => {
      closed ??= db.destroy();
      return closed;
    },
  };
}

/** @throws CodedError STATE_DAMAGED, DATABASE_FAILED, STORE_UNAVAILABLE, SETTINGS_INVALID */
export async function openDatabase(options: DatabaseOptions, now: number, migrationList?: readonly Migration[]): Promise<Store> {
  const more = migrationList === undefined ? {} : { list: migrationList };
  if (options.driver === 'postgres') {
    const db = new Kysely<Schema>({ dialect: postgresDialect(parsePostgresUrl(options.url), { pool: options.pool, ca: options.ca }) });
    await migrated(db, 'postgres', { now, backup: async () => undefined, ...more });
    return storeOn(db, 'postgres', {
      async snapshot() {
        throw new CodedError('UNSUPPORTED', 'copies of a PostgreSQL database are made with pg_dump');
      },
      async sizeBytes() {
        const { rows } = await sql<{ size: number }>`select pg_database_size(current_database()) as size`.execute(db);
        return rows[0]?.size ?? 0;
      },
    });
  }
  const file = openSqliteFile(options.path, options);
  const db = new Kysely<Schema>({ dialect: sqliteDialect(file) });
  const backup = async (before: string) => {
    file.pragma('wal_checkpoint(TRUNCATE)');
    copyFileSync(options.path, join(dirname(options.path), `before-${before}.db`));
  };
  await migrated(db, 'sqlite', { now, backup, ...more });
  return storeOn(db, 'sqlite', {
    async snapshot(toFile) {
      await file.backup(toFile);
    },
    async sizeBytes() {
      return Number(file.pragma('page_count', { simple: true })) * Number(file.pragma('page_size', { simple: true }));
    },
  });
}
