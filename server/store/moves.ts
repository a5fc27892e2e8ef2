/** The hub's journal of moves: a row is written before anything is asked of a site, and ends only when every site has said what it was told. */
import { type Kysely, sql } from 'kysely';
import type { EnvoyId } from '../../core/base/ids.ts';
import type { Schema } from './schema.ts';

export const MOVE_PHASES = ['INTENT', 'READY', 'COMMITTED', 'CONFIRMED', 'UNDONE'] as const;
export type MovePhase = (typeof MOVE_PHASES)[number];

/** Duties that are done, as bits of `steps`. */
export const STEP = { prepareSent: 1, activated: 2, departed: 4, lateDelivered: 8, forgotten: 16, undoAcked: 32 } as const;

export interface MoveRow {
  readonly id: string;
  readonly envoyId: EnvoyId;
  readonly hostname: string;
  readonly source: string;
  readonly target: string;
  readonly ownerEpoch: number;
  readonly phase: MovePhase;
  /** the drain or batch it belongs to; empty for one alone */
  readonly job: string;
  /** from the hub's copy, without the source (evacuation) */
  readonly forced: boolean;
  /** JSON of the signed grant; empty before COMMIT */
  readonly grant: string;
  readonly steps: number;
  /** code of why it was undone, or of what delays it */
  readonly error: string;
  readonly message: string;
  readonly createdAt: number;
  readonly committedAt: number;
  /** confirmed or undone */
  readonly endedAt: number;
  /** a site has something to be told yet, or the confirmation is missing */
  readonly unfinished: boolean;
}

export interface MoveFilter {
  readonly unfinished?: boolean | undefined;
  readonly job?: string | undefined;
  readonly envoyId?: string | undefined;
  /** continues a listing */
  readonly before?: string | undefined;
}

export interface MoveStore {
  add(row: MoveRow): Promise<void>;
  byId(id: string): Promise<MoveRow | undefined>;
  /** newest first */
  list(filter: MoveFilter, limit: number): Promise<readonly MoveRow[]>;
  /** unfinished ones, oldest first */
  unfinished(): Promise<readonly MoveRow[]>;
  /** unfinished ones in which a site has a part, or which failed to reach one */
  listOfSite(siteId: string): Promise<readonly MoveRow[]>;
  listOfEnvoy(envoyId: EnvoyId): Promise<readonly MoveRow[]>;
  /** Only when it stands in one of the phases; false otherwise. */
  update(id: string, change: Partial<MoveRow>, phases: readonly MovePhase[]): Promise<boolean>;
  /** adds done duties, whatever else changes in the row meanwhile */
  mark(id: string, bits: number, change?: Pick<Partial<MoveRow>, 'error' | 'message' | 'unfinished'>): Promise<void>;
  countByPhase(job?: string): Promise<Readonly<Record<MovePhase, number>>>;
  /** forgets ended ones; answers how many */
  prune(endedBefore: number): Promise<number>;
}

function toRow(row: Schema['moves']): MoveRow {
  return {
    id: row.id,
    envoyId: row.envoy_id as EnvoyId,
    hostname: row.hostname,
    source: row.source,
    target: row.target,
    ownerEpoch: row.owner_epoch,
    phase: row.phase as MovePhase,
    job: row.job,
    forced: row.forced === 1,
    grant: row.signed_grant,
    steps: row.steps,
    error: row.error,
    message: row.message,
    createdAt: row.created_at,
    committedAt: row.committed_at,
    endedAt: row.ended_at,
    unfinished: row.unfinished === 1,
  };
}

function toColumns(change: Partial<MoveRow>): Partial<Schema['moves']> {
  const bit = (value: boolean | undefined) => (value === undefined ? undefined : value ? 1 : 0);
  const all = {
    id: change.id,
    envoy_id: change.envoyId,
    hostname: change.hostname,
    source: change.source,
    target: change.target,
    owner_epoch: change.ownerEpoch,
    phase: change.phase,
    job: change.job,
    forced: bit(change.forced),
    signed_grant: change.grant,
    steps: change.steps,
    error: change.error,
    message: change.message,
    created_at: change.createdAt,
    committed_at: change.committedAt,
    ended_at: change.endedAt,
    unfinished: bit(change.unfinished),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

export function moveStore(db: Kysely<Schema>): MoveStore {
  const all = () => db.selectFrom('moves').selectAll();
  return {
    async add(row) {
      await db
        .insertInto('moves')
        .values(toColumns(row) as Schema['moves'])
        .execute();
    },
    async byId(id) {
      const row = await all().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : toRow(row);
    },
    async list({ unfinished, job, envoyId, before }, limit) {
      let query = all();
      if (unfinished !== undefined) query = query.where('unfinished', '=', unfinished ? 1 : 0);
      if (job !== undefined) query = query.where('job', '=', job);
      if (envoyId !== undefined) query = query.where('envoy_id', '=', envoyId);
      if (before !== undefined) query = query.where('id', '<', before);
      return (await query.orderBy('id', 'desc').limit(limit).execute()).map(toRow);
    },
    async unfinished() {
      return (await all().where('unfinished', '=', 1).orderBy('id').execute()).map(toRow);
    },
    async listOfSite(siteId) {
      const rows = await all()
        .where('unfinished', '=', 1)
        .where((either) =>
          either.or([either('source', '=', siteId), either('target', '=', siteId), either('error', '=', 'SPOKE_UNAVAILABLE')]),
        )
        .orderBy('id')
        .execute();
      return rows.map(toRow);
    },
    async listOfEnvoy(envoyId) {
      return (await all().where('envoy_id', '=', envoyId).orderBy('owner_epoch').execute()).map(toRow);
    },
    async update(id, change, phases) {
      const [result] = await db.updateTable('moves').set(toColumns(change)).where('id', '=', id).where('phase', 'in', phases).execute();
      return (result?.numUpdatedRows ?? 0n) > 0n;
    },
    async mark(id, bits, change = {}) {
      await db
        .updateTable('moves')
        .set({ ...toColumns(change), steps: sql`steps | ${bits}` })
        .where('id', '=', id)
        .execute();
    },
    async countByPhase(job) {
      let query = db
        .selectFrom('moves')
        .select((of) => ['phase', of.fn.countAll<number>().as('count')])
        .groupBy('phase');
      if (job !== undefined) query = query.where('job', '=', job);
      const counts: Record<MovePhase, number> = { INTENT: 0, READY: 0, COMMITTED: 0, CONFIRMED: 0, UNDONE: 0 };
      for (const { phase, count } of await query.execute()) counts[phase as MovePhase] = Number(count);
      return counts;
    },
    async prune(endedBefore) {
      const [result] = await db.deleteFrom('moves').where('unfinished', '=', 0).where('ended_at', '<', endedBefore).execute();
      return Number(result?.numDeletedRows ?? 0n);
    },
  };
}
