/** Rollouts by ring: how far each has come. */
import type { Kysely } from 'kysely';
import type { Schema } from './schema.ts';
import type { RolloutRow, RolloutStore } from './store.ts';

function toRow(row: Schema['rollouts']): RolloutRow {
  return {
    number: row.number,
    former: row.former,
    state: row.state as RolloutRow['state'],
    ring: row.ring,
    rings: JSON.parse(row.rings) as RolloutRow['rings'],
    baseline: row.baseline === '' ? undefined : (JSON.parse(row.baseline) as RolloutRow['baseline']),
    error: row.error,
    startedAt: row.started_at,
    changedAt: row.changed_at,
  };
}

export function rolloutStore(db: Kysely<Schema>): RolloutStore {
  return {
    async save(row) {
      const values = {
        former: row.former,
        state: row.state,
        ring: row.ring,
        rings: JSON.stringify(row.rings),
        baseline: row.baseline === undefined ? '' : JSON.stringify(row.baseline),
        error: row.error,
        started_at: row.startedAt,
        changed_at: row.changedAt,
      };
      await db
        .insertInto('rollouts')
        .values({ number: row.number, ...values })
        .onConflict((conflict) => conflict.column('number').doUpdateSet(values))
        .execute();
    },
    async newest() {
      const row = await db.selectFrom('rollouts').selectAll().orderBy('number', 'desc').limit(1).executeTakeFirst();
      return row === undefined ? undefined : toRow(row);
    },
    async remove(number) {
      await db.deleteFrom('rollouts').where('number', '=', number).execute();
    },
  };
}
