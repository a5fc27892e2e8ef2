/** Batches of moves: drains, evacuations, what is taken back, and reassignments, kept so that whoever comes back goes on with them. */
import type { Kysely } from 'kysely';
import type { Schema } from './schema.ts';

export const DRAIN_KINDS = ['drain', 'evacuate', 'reassign', 'take_back'] as const;
export const DRAIN_STATES = ['running', 'done', 'cancelled', 'failed'] as const;

export interface DrainRow {
  readonly id: string;
  readonly kind: (typeof DRAIN_KINDS)[number];
  /** that is emptied, or gets its own back; empty for a reassignment */
  readonly site: string;
  readonly state: (typeof DRAIN_STATES)[number];
  /** sites that may take envoys; empty: by pattern and weight */
  readonly targets: readonly string[];
  /** ids of a reassignment; a drain takes whatever its site owns */
  readonly envoys: readonly string[];
  /** `2%/min` or `10/s` */
  readonly rate: string;
  /** for running tasks; 0: none */
  readonly deadlineAt: number;
  /** JSON of who began it */
  readonly actor: string;
  /** envoys when it began */
  readonly total: number;
  readonly createdAt: number;
  readonly endedAt: number;
  readonly error: string;
}

export interface DrainStore {
  add(row: DrainRow): Promise<void>;
  byId(id: string): Promise<DrainRow | undefined>;
  /** newest first */
  list(
    filter: { readonly state?: DrainRow['state'] | undefined; readonly site?: string | undefined },
    limit: number,
  ): Promise<readonly DrainRow[]>;
  /** only while it runs; false otherwise */
  end(id: string, state: DrainRow['state'], at: number, error: string): Promise<boolean>;
}

function toRow(row: Schema['drains']): DrainRow {
  return {
    id: row.id,
    kind: row.kind as DrainRow['kind'],
    site: row.site,
    state: row.state as DrainRow['state'],
    targets: JSON.parse(row.targets) as string[],
    envoys: JSON.parse(row.envoys) as string[],
    rate: row.rate,
    deadlineAt: row.deadline_at,
    actor: row.actor,
    total: row.total,
    createdAt: row.created_at,
    endedAt: row.ended_at,
    error: row.error,
  };
}

export function drainStore(db: Kysely<Schema>): DrainStore {
  const all = () => db.selectFrom('drains').selectAll();
  return {
    async add({ deadlineAt, createdAt, endedAt, targets, envoys, ...row }) {
      await db
        .insertInto('drains')
        .values({
          ...row,
          targets: JSON.stringify(targets),
          envoys: JSON.stringify(envoys),
          deadline_at: deadlineAt,
          created_at: createdAt,
          ended_at: endedAt,
        })
        .execute();
    },
    async byId(id) {
      const row = await all().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : toRow(row);
    },
    async list({ state, site }, limit) {
      let query = all();
      if (state !== undefined) query = query.where('state', '=', state);
      if (site !== undefined) query = query.where('site', '=', site);
      return (await query.orderBy('id', 'desc').limit(limit).execute()).map(toRow);
    },
    async end(id, state, at, error) {
      const [result] = await db
        .updateTable('drains')
        .set({ state, ended_at: at, error })
        .where('id', '=', id)
        .where('state', '=', 'running')
        .execute();
      return (result?.numUpdatedRows ?? 0n) > 0n;
    },
  };
}
