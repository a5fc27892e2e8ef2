/** Rollouts by ring: how far each has come. */
import type { Kysely } from 'kysely';
import type { Schema } from './schema.ts';

/** What a ring is judged by. */
export interface RingHealth {
  readonly envoys: number;
  readonly good: number;
  readonly silent: number;
}

/** A release on its way through the rings of a hub. */
export interface RolloutRow {
  /** 0 while the release is being published */
  readonly number: number;
  /** what sites serve that are not reached yet; 0: nothing */
  readonly former: number;
  readonly state: 'preparing' | 'running' | 'done' | 'reverted' | 'stopped' | 'superseded';
  /** place of the ring under way */
  readonly ring: number;
  readonly rings: readonly { readonly name: string; readonly spoke: string | null; readonly soakMs: number; readonly minOkPct: number }[];
  /** of the ring under way, before it got the release; and since when it soaks */
  readonly baseline?: (RingHealth & { readonly soakingSince: number }) | undefined;
  readonly error: string;
  readonly startedAt: number;
  readonly changedAt: number;
}

export interface RolloutStore {
  save(row: RolloutRow): Promise<void>;
  newest(): Promise<RolloutRow | undefined>;
  remove(number: number): Promise<void>;
}

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
