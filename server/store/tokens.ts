/** Enrolment tokens: spent by one conditional update, so that of a hundred parallel uses one wins. */
import type { Kysely } from 'kysely';
import type { EnvoyId } from '../../core/base/ids.ts';
import type { Schema } from './schema.ts';
import type { EnrollTokenRow, TokenStore } from './store.ts';

function toRow(row: Schema['enroll_tokens']): EnrollTokenRow {
  return {
    id: row.id,
    secretHash: row.secret_hash,
    pattern: row.pattern,
    environment: row.environment,
    labels: JSON.parse(row.labels) as EnrollTokenRow['labels'],
    note: row.note,
    spoke: row.spoke,
    permit: row.permit,
    createdBy: row.created_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    spent:
      row.spent_at === 0
        ? undefined
        : {
            envoyId: row.spent_envoy as EnvoyId | '',
            hostname: row.spent_hostname,
            keyFingerprint: row.spent_key,
            address: row.spent_address,
            at: row.spent_at,
            site: row.spent_site,
          },
  };
}

export function tokenStore(db: Kysely<Schema>): TokenStore {
  return {
    async add(token) {
      await db
        .insertInto('enroll_tokens')
        .values({
          id: token.id,
          secret_hash: token.secretHash,
          pattern: token.pattern,
          environment: token.environment,
          labels: JSON.stringify(token.labels),
          note: token.note,
          spoke: token.spoke,
          permit: token.permit,
          created_by: token.createdBy,
          created_at: token.createdAt,
          expires_at: token.expiresAt,
          revoked_at: 0,
          spent_at: 0,
          spent_envoy: '',
          spent_hostname: '',
          spent_key: '',
          spent_address: '',
          spent_site: '',
        })
        .execute();
    },
    async byId(id) {
      const row = await db.selectFrom('enroll_tokens').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : toRow(row);
    },
    async list(limit, beforeId) {
      let query = db.selectFrom('enroll_tokens').selectAll().orderBy('id', 'desc').limit(limit);
      if (beforeId !== undefined) query = query.where('id', '<', beforeId);
      return (await query.execute()).map(toRow);
    },
    async revoke(id, at) {
      const [result] = await db
        .updateTable('enroll_tokens')
        .set({ revoked_at: at })
        .where('id', '=', id)
        .where('revoked_at', '=', 0)
        .where('spent_at', '=', 0)
        .execute();
      return (result?.numUpdatedRows ?? 0n) > 0n;
    },
    async spend(id, use) {
      const [result] = await db
        .updateTable('enroll_tokens')
        .set({
          spent_at: use.at,
          spent_envoy: use.envoyId,
          spent_hostname: use.hostname,
          spent_key: use.keyFingerprint,
          spent_address: use.address,
          spent_site: use.site,
        })
        .where('id', '=', id)
        .where('spent_at', '=', 0)
        .where('revoked_at', '=', 0)
        .where('expires_at', '>', use.at)
        .execute();
      return (result?.numUpdatedRows ?? 0n) > 0n;
    },
    async unspend(id, keyFingerprint, site) {
      const [result] = await db
        .updateTable('enroll_tokens')
        .set({ spent_at: 0, spent_envoy: '', spent_hostname: '', spent_key: '', spent_address: '', spent_site: '' })
        .where('id', '=', id)
        .where('spent_key', '=', keyFingerprint)
        .where('spent_site', '=', site)
        .where('spent_envoy', '=', '')
        .execute();
      return (result?.numUpdatedRows ?? 0n) > 0n;
    },
    async enrolled(id, keyFingerprint, envoyId) {
      await db
        .updateTable('enroll_tokens')
        .set({ spent_envoy: envoyId })
        .where('id', '=', id)
        .where('spent_key', '=', keyFingerprint)
        .execute();
    },
    async prune(expiredBefore) {
      const [result] = await db.deleteFrom('enroll_tokens').where('expires_at', '<', expiredBefore).execute();
      return Number(result?.numDeletedRows ?? 0n);
    },
  };
}
