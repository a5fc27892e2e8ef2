/** Brings a database to the shape this program knows: forward only, all or nothing. */
import { type Kysely, sql } from 'kysely';
import { CodedError } from '../../core/base/errors.ts';
import { migrations } from './migrations/index.ts';
import type { DialectName, Migration } from './migrations/migration.ts';
import type { Schema } from './schema.ts';

/** any number that nobody else on this database uses for advisory locks: "vigo" */
const LOCK = 0x7669676f;

async function applied(db: Kysely<Schema>): Promise<readonly string[]> {
  return (await db.selectFrom('migrations').select('name').orderBy('name').execute()).map((row) => row.name);
}

/** `backup` is called once, before the first change to a database that holds data already. Answers the names that were applied. */
export async function migrate(
  db: Kysely<Schema>,
  dialect: DialectName,
  options: { now: number; backup: (before: string) => Promise<void>; list?: readonly Migration[] },
): Promise<readonly string[]> {
  const list = options.list ?? migrations;
  await sql`create table if not exists migrations (name text primary key, applied_at bigint not null)`.execute(db);
  const before = await applied(db);
  const unknown = before.filter((name) => !list.some((migration) => migration.name === name));
  if (unknown.length > 0) {
    throw new CodedError('DATABASE_FAILED', `the database was changed by a newer vigosrv (${unknown.join(', ')})`, {
      hint: 'start the newer program, or restore the backup that was made before the change',
    });
  }
  const missing = list.filter((migration) => !before.includes(migration.name));
  if (missing.length === 0) return [];
  if (before.length > 0) await options.backup(missing[0]!.name);
  return db.transaction().execute(async (tx) => {
    if (dialect === 'postgres') await sql`select pg_advisory_xact_lock(${LOCK})`.execute(tx);
    const now = await applied(tx);
    const done: string[] = [];
    for (const migration of missing) {
      if (now.includes(migration.name)) continue;
      await migration.up(tx as unknown as Kysely<unknown>, dialect);
      await tx.insertInto('migrations').values({ name: migration.name, applied_at: options.now }).execute();
      done.push(migration.name);
    }
    return done;
  });
}
