/** Permits: at a hub those it gave out, at a spoke those it holds. One use each, by one conditional update. */
import type { Kysely } from 'kysely';
import type { Schema } from './schema.ts';

export interface PermitRow {
  readonly id: string;
  /** the spoke that may use it */
  readonly site: string;
  /** JSON of the signed record */
  readonly record: string;
  readonly notAfter: number;
  /** milliseconds since 1970; 0: not used */
  readonly spentAt: number;
  /** id of the token made with it */
  readonly spentFor: string;
  /** of that token */
  readonly pattern: string;
}

export interface PermitUse {
  readonly tokenId: string;
  readonly pattern: string;
  readonly at: number;
}

export interface PermitStore {
  /** known ones are left as they are */
  add(rows: readonly PermitRow[]): Promise<void>;
  byId(id: string): Promise<PermitRow | undefined>;
  /** of a site, unused, good after the time; those that end first come first */
  usable(site: string, after: number): Promise<readonly PermitRow[]>;
  /** false when unknown or used before */
  spend(id: string, use: PermitUse): Promise<boolean>;
  /** at a spoke: used ones that the hub has not acknowledged */
  untold(limit: number): Promise<readonly PermitRow[]>;
  told(ids: readonly string[]): Promise<void>;
  /** forgets those that ended before; answers how many */
  prune(endedBefore: number): Promise<number>;
}

type Stored = Schema['permits'];

function toRow(row: Stored): PermitRow {
  return {
    id: row.id,
    site: row.site,
    record: row.record,
    notAfter: row.not_after,
    spentAt: row.spent_at,
    spentFor: row.spent_for,
    pattern: row.pattern,
  };
}

export function permitStore(db: Kysely<Schema>): PermitStore {
  return {
    async add(rows) {
      for (const { id, site, record, notAfter, spentAt, spentFor, pattern } of rows)
        await db
          .insertInto('permits')
          .values({ id, site, record, not_after: notAfter, spent_at: spentAt, spent_for: spentFor, pattern, told: 0 })
          .onConflict((conflict) => conflict.column('id').doNothing())
          .execute();
    },
    async byId(id) {
      const row = await db.selectFrom('permits').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : toRow(row);
    },
    async usable(site, after) {
      const rows = await db
        .selectFrom('permits')
        .selectAll()
        .where('site', '=', site)
        .where('spent_at', '=', 0)
        .where('not_after', '>', after)
        .orderBy('not_after')
        .orderBy('id')
        .execute();
      return rows.map(toRow);
    },
    async spend(id, { tokenId, pattern, at }) {
      const [result] = await db
        .updateTable('permits')
        .set({ spent_at: at, spent_for: tokenId, pattern })
        .where('id', '=', id)
        .where('spent_at', '=', 0)
        .execute();
      return (result?.numUpdatedRows ?? 0n) > 0n;
    },
    async untold(limit) {
      const rows = await db
        .selectFrom('permits')
        .selectAll()
        .where('spent_at', '>', 0)
        .where('told', '=', 0)
        .orderBy('spent_at')
        .limit(limit)
        .execute();
      return rows.map(toRow);
    },
    async told(ids) {
      if (ids.length > 0) await db.updateTable('permits').set({ told: 1 }).where('id', 'in', ids).execute();
    },
    async prune(endedBefore) {
      const [result] = await db.deleteFrom('permits').where('not_after', '<', endedBefore).execute();
      return Number(result?.numDeletedRows ?? 0n);
    },
  };
}
