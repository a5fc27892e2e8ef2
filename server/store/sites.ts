/** Spokes as their hub keeps them. */
import type { Kysely } from 'kysely';
import type { Schema } from './schema.ts';
import type { SiteRow, SiteStore } from './site-row.ts';

type Stored = Schema['sites'];

function toRow(row: Stored): SiteRow {
  return {
    id: row.id,
    source: row.source as SiteRow['source'],
    addr: row.addr,
    apiUrl: row.api_url,
    fallback: JSON.parse(row.fallback) as string[],
    patterns: JSON.parse(row.patterns) as string[],
    weight: row.weight,
    labels: JSON.parse(row.labels) as Record<string, string>,
    state: row.state as SiteRow['state'],
    createdAt: row.created_at,
    stateAt: row.state_at,
    epoch: row.epoch,
    serverId: row.server_id,
    serverKey: row.server_key,
    delegation: row.delegation,
    ca: row.ca,
    join: { hash: row.join_hash, expiresAt: row.join_expires_at, spentAt: row.join_spent_at, answer: row.join_answer },
    lastSeen: row.last_seen,
  };
}

function toColumns(row: Partial<SiteRow>): Partial<Stored> {
  const columns: { [K in keyof Stored]?: Stored[K] | undefined } = {
    id: row.id,
    source: row.source,
    addr: row.addr,
    api_url: row.apiUrl,
    fallback: row.fallback === undefined ? undefined : JSON.stringify(row.fallback),
    patterns: row.patterns === undefined ? undefined : JSON.stringify(row.patterns),
    weight: row.weight,
    labels: row.labels === undefined ? undefined : JSON.stringify(row.labels),
    state: row.state,
    created_at: row.createdAt,
    state_at: row.stateAt,
    epoch: row.epoch,
    server_id: row.serverId,
    server_key: row.serverKey,
    delegation: row.delegation,
    ca: row.ca,
    join_hash: row.join?.hash,
    join_expires_at: row.join?.expiresAt,
    join_spent_at: row.join?.spentAt,
    join_answer: row.join?.answer,
    last_seen: row.lastSeen,
  };
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined));
}

export function siteStore(db: Kysely<Schema>): SiteStore {
  return {
    async put(row) {
      const columns = toColumns(row) as Stored;
      await db
        .insertInto('sites')
        .values(columns)
        .onConflict((conflict) => conflict.column('id').doUpdateSet(columns))
        .execute();
    },
    async byId(id) {
      const row = await db.selectFrom('sites').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : toRow(row);
    },
    async list() {
      return (await db.selectFrom('sites').selectAll().orderBy('created_at').orderBy('id').execute()).map(toRow);
    },
    async update(id, change) {
      const [result] = await db.updateTable('sites').set(toColumns(change)).where('id', '=', id).execute();
      return (result?.numUpdatedRows ?? 0n) > 0n;
    },
    async spendJoin(id, hash, answer, at) {
      const [result] = await db
        .updateTable('sites')
        .set({ join_spent_at: at, join_answer: answer })
        .where('id', '=', id)
        .where('join_hash', '=', hash)
        .where('join_spent_at', '=', 0)
        .where('join_expires_at', '>', at)
        .execute();
      return (result?.numUpdatedRows ?? 0n) > 0n;
    },
  };
}
