/** Runs: a summary row for lists, the whole report beside it until retention thins it. */
import { type Kysely, sql } from 'kysely';
import type { EnvoyId } from '../../core/base/ids.ts';
import { countOutcomes, type RunReport } from '../../core/policy/outcome.ts';
import type { Schema } from './schema.ts';
import { type RunStore, type RunSummary, runKey, type StoredRun } from './store.ts';

const CHUNK = 200;

type SummaryRow = Omit<Schema['runs'], 'position'> & { position: number };

function toSummary(row: SummaryRow): RunSummary {
  return {
    position: row.position,
    runId: row.run_id,
    subject: row.subject as EnvoyId,
    hostname: row.hostname,
    receivedAt: row.received_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    mode: row.mode as RunSummary['mode'],
    partial: row.partial,
    flags: JSON.parse(row.flags) as string[],
    release: row.release,
    bodyHash: row.body_hash,
    ok: row.ok,
    changed: row.changed,
    failed: row.failed,
    blocked: row.blocked,
    skipped: row.skipped,
  };
}

function toRow({ subject, hostname, receivedAt, report }: StoredRun): Omit<Schema['runs'], 'position'> {
  return {
    run_id: report.run_id,
    subject,
    hostname,
    received_at: receivedAt,
    // agents' clocks may give fractions; the columns hold whole milliseconds
    started_at: Math.trunc(report.started_at),
    ended_at: Math.trunc(report.ended_at),
    mode: report.mode,
    partial: report.partial ?? '',
    flags: JSON.stringify(report.flags),
    release: report.release,
    body_hash: report.body_hash,
    ...countOutcomes(report.outcomes),
  };
}

export function runStore(db: Kysely<Schema>): RunStore {
  const inOne = <T>(work: (tx: Kysely<Schema>) => Promise<T>): Promise<T> => (db.isTransaction ? work(db) : db.transaction().execute(work));

  async function appendChunk(tx: Kysely<Schema>, chunk: readonly StoredRun[], duplicates: Set<string>): Promise<void> {
    const byKey = new Map<string, StoredRun>();
    for (const run of chunk) {
      const key = runKey(run.subject, run.report.run_id);
      if (byKey.has(key)) duplicates.add(key);
      else byKey.set(key, run);
    }
    const inserted = await tx
      .insertInto('runs')
      .values([...byKey.values()].map(toRow))
      .onConflict((conflict) => conflict.columns(['subject', 'run_id']).doNothing())
      .returning(['position', 'subject', 'run_id'])
      .execute();
    const details: Schema['run_details'][] = [];
    for (const { position, subject, run_id } of inserted) {
      const key = runKey(subject as EnvoyId, run_id);
      details.push({ position, report: JSON.stringify(byKey.get(key)!.report) });
      byKey.delete(key);
    }
    for (const key of byKey.keys()) duplicates.add(key);
    if (details.length > 0) await tx.insertInto('run_details').values(details).execute();
  }

  return {
    appendBatch: (batch) =>
      inOne(async (tx) => {
        const duplicates = new Set<string>();
        for (let at = 0; at < batch.length; at += CHUNK) await appendChunk(tx, batch.slice(at, at + CHUNK), duplicates);
        return duplicates;
      }),
    async list(filter, limit) {
      let query = db.selectFrom('runs').selectAll().orderBy('position', 'desc').limit(limit);
      if (filter.subject !== undefined) query = query.where('subject', '=', filter.subject);
      if (filter.mode !== undefined) query = query.where('mode', '=', filter.mode);
      if (filter.startedSince !== undefined) query = query.where('started_at', '>=', filter.startedSince);
      if (filter.changed !== undefined) query = query.where('changed', filter.changed ? '>' : '=', 0);
      if (filter.failed !== undefined) query = query.where(sql`failed + blocked`, filter.failed ? '>' : '=', 0);
      if (filter.before !== undefined) query = query.where('position', '<', filter.before);
      return (await query.execute()).map(toSummary);
    },
    async byId(runId) {
      const rows = await db
        .selectFrom('runs')
        .leftJoin('run_details', 'run_details.position', 'runs.position')
        .selectAll('runs')
        .select('run_details.report')
        .where('run_id', '=', runId)
        .orderBy('runs.position')
        .execute();
      return rows.map(({ report, ...row }) =>
        report === null ? { summary: toSummary(row) } : { summary: toSummary(row), report: JSON.parse(report) as RunReport },
      );
    },
    async newest(subject, limit) {
      const rows = await db
        .selectFrom('runs')
        .innerJoin('run_details', 'run_details.position', 'runs.position')
        .select(['runs.subject', 'runs.hostname', 'runs.received_at', 'run_details.report'])
        .where('runs.subject', '=', subject)
        .orderBy('runs.position', 'desc')
        .limit(limit)
        .execute();
      return rows.map((row) => ({
        subject: row.subject as EnvoyId,
        hostname: row.hostname,
        receivedAt: row.received_at,
        report: JSON.parse(row.report) as RunReport,
      }));
    },
    retain: (detailsSince, summariesSince) =>
      inOne(async (tx) => {
        const old = tx.selectFrom('runs').select('position').where('received_at', '<', detailsSince);
        const [details] = await tx.deleteFrom('run_details').where('position', 'in', old).execute();
        const [summaries] = await tx.deleteFrom('runs').where('received_at', '<', summariesSince).execute();
        return Number((details?.numDeletedRows ?? 0n) + (summaries?.numDeletedRows ?? 0n));
      }),
  };
}
