/** Audit records and the frontier of their tree. What the records say and how they hash is the trail's business. */
import type { Kysely } from 'kysely';
import { CodedError } from '../../core/base/errors.ts';
import type { AuditFilter, AuditStore, CheckpointRow, CheckpointStore } from './audit-rows.ts';
import type { DialectName } from './migrations/migration.ts';
import type { Schema } from './schema.ts';

const PAGE = 1000;
const HASH_BYTES = 32;

/** A rest that is no whole hash stays as a short last one, which no tree accepts. */
export function rootsOf(bytes: Buffer): readonly Uint8Array[] {
  const count = Math.ceil(bytes.length / HASH_BYTES);
  return Array.from({ length: count }, (_, index) => bytes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES));
}

type Condition = readonly [column: 'time' | 'actor' | 'target' | 'seq' | 'event', operator: '=' | '<' | '>=', value: string | number];

/** What a filter asks of a row; the same for one's own log and for copies. */
export function conditionsOf({ since, until, actor, target, before, event }: AuditFilter): readonly Condition[] {
  const prefix = event?.endsWith('.') === true ? event : undefined;
  return [
    ...(since === undefined ? [] : [['time', '>=', since] as const]),
    ...(until === undefined ? [] : [['time', '<', until] as const]),
    ...(actor === undefined ? [] : [['actor', '=', actor] as const]),
    ...(target === undefined ? [] : [['target', '=', target] as const]),
    ...(before === undefined ? [] : [['seq', '<', before] as const]),
    ...(prefix === undefined ? [] : [['event', '>=', prefix] as const, ['event', '<', `${prefix.slice(0, -1)}/`] as const]),
    ...(event === undefined || prefix !== undefined ? [] : [['event', '=', event] as const]),
  ];
}

export function auditStore(db: Kysely<Schema>, dialect: DialectName): AuditStore {
  return {
    async head() {
      const query = db.selectFrom('audit_head').selectAll().where('one', '=', 1);
      // SQLite's transactions hold the one write lock already
      const row = await (dialect === 'postgres' && db.isTransaction ? query.forUpdate() : query).executeTakeFirst();
      if (row === undefined) throw new CodedError('AUDIT_BROKEN', 'the head of the audit tree is missing');
      return { size: row.size, frontier: rootsOf(row.frontier) };
    },
    async append(row, head) {
      const [result] = await db
        .updateTable('audit_head')
        .set({ size: head.size, frontier: Buffer.concat(head.frontier) })
        .where('one', '=', 1)
        .where('size', '=', row.seq)
        .execute();
      if (head.size !== row.seq + 1 || (result?.numUpdatedRows ?? 0n) !== 1n)
        throw new CodedError('AUDIT_BROKEN', `record ${row.seq} is not the next one of the audit log`);
      await db
        .insertInto('audit')
        .values({ seq: row.seq, time: row.time, event: row.event, actor: row.actor, target: row.target, record: row.record })
        .execute();
    },
    async *read(fromSeq, untilSeq = Number.MAX_SAFE_INTEGER) {
      let next = fromSeq;
      for (;;) {
        const rows = await db
          .selectFrom('audit')
          .selectAll()
          .where('seq', '>=', next)
          .where('seq', '<', untilSeq)
          .orderBy('seq')
          .limit(PAGE)
          .execute();
        yield* rows;
        if (rows.length < PAGE) return;
        next = rows.at(-1)!.seq + 1;
      }
    },
    async list(filter, limit) {
      let query = db.selectFrom('audit').selectAll().orderBy('seq', 'desc').limit(limit);
      for (const [column, operator, value] of conditionsOf(filter)) query = query.where(column, operator, value);
      return query.execute();
    },
    async count() {
      const row = await db
        .selectFrom('audit')
        .select((of) => of.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow();
      return row.count;
    },
  };
}

export function checkpointStore(db: Kysely<Schema>): CheckpointStore {
  const toRow = (row: Schema['checkpoints']): CheckpointRow => ({ ...row, frontier: rootsOf(row.frontier) });
  return {
    async add({ size, time, note, frontier }) {
      await db
        .insertInto('checkpoints')
        .values({ size, time, note, frontier: Buffer.concat(frontier) })
        .onConflict((conflict) => conflict.column('size').doNothing())
        .execute();
    },
    async newest(atMost = Number.MAX_SAFE_INTEGER) {
      const row = await db
        .selectFrom('checkpoints')
        .selectAll()
        .where('size', '<=', atMost)
        .orderBy('size', 'desc')
        .limit(1)
        .executeTakeFirst();
      return row === undefined ? undefined : toRow(row);
    },
    async list(fromSize, limit) {
      return (await db.selectFrom('checkpoints').selectAll().where('size', '>=', fromSize).orderBy('size').limit(limit).execute()).map(
        toRow,
      );
    },
  };
}
