/** The publish history. */
import type { Kysely } from 'kysely';
import type { Schema } from './schema.ts';
import type { ReleaseRow, ReleaseStore } from './store.ts';

function toRow(row: Schema['releases']): ReleaseRow {
  return {
    number: row.number,
    version: row.version,
    root: row.root,
    author: row.author,
    approver: row.approver,
    message: row.message,
    createdAt: row.created_at,
    files: JSON.parse(row.files) as ReleaseRow['files'],
    entriesAffected: row.entries_affected,
    envoysAffected: row.envoys_affected,
    warnings: row.warnings,
    flags: JSON.parse(row.flags) as ReleaseRow['flags'],
    rollbackOf: row.rollback_of,
    result: row.result as ReleaseRow['result'],
    watch: row.watch === '' ? undefined : (JSON.parse(row.watch) as NonNullable<ReleaseRow['watch']>),
  };
}

export function releaseStore(db: Kysely<Schema>): ReleaseStore {
  return {
    async add(row) {
      await db
        .insertInto('releases')
        .values({
          number: row.number,
          version: row.version,
          root: row.root,
          author: row.author,
          approver: row.approver,
          message: row.message,
          created_at: row.createdAt,
          files: JSON.stringify(row.files),
          entries_affected: row.entriesAffected,
          envoys_affected: row.envoysAffected,
          warnings: row.warnings,
          flags: JSON.stringify(row.flags),
          rollback_of: row.rollbackOf,
          result: row.result,
          watch: row.watch === undefined ? '' : JSON.stringify(row.watch),
        })
        .execute();
    },
    async byNumber(number) {
      const row = await db.selectFrom('releases').selectAll().where('number', '=', number).executeTakeFirst();
      return row === undefined ? undefined : toRow(row);
    },
    async list(limit, before) {
      let query = db.selectFrom('releases').selectAll().orderBy('number', 'desc').limit(limit);
      if (before !== undefined) query = query.where('number', '<', before);
      return (await query.execute()).map(toRow);
    },
    async update(number, change) {
      const columns = {
        ...(change.result === undefined ? {} : { result: change.result }),
        ...(change.watch === undefined ? {} : { watch: JSON.stringify(change.watch) }),
      };
      if (Object.keys(columns).length === 0) return false;
      const [result] = await db.updateTable('releases').set(columns).where('number', '=', number).execute();
      return (result?.numUpdatedRows ?? 0n) > 0n;
    },
    async makeLive(number) {
      await db.updateTable('releases').set({ result: 'superseded' }).where('result', '=', 'live').where('number', '!=', number).execute();
      await db.updateTable('releases').set({ result: 'live' }).where('number', '=', number).execute();
    },
  };
}
