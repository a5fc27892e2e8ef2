/** Copies of the audit logs of a hub's sites, each with the frontier of its tree. */
import type { Kysely } from 'kysely';
import { CodedError } from '../../core/base/errors.ts';
import { conditionsOf, rootsOf } from './audit-log.ts';
import type { AuditFilter, AuditHead, AuditRow } from './audit-rows.ts';
import type { Schema } from './schema.ts';

export interface SiteAuditHead extends AuditHead {
  readonly site: string;
  /** newest checkpoint that was held against the copy */
  readonly checkpoint: string;
  /** milliseconds since 1970 */
  readonly heardAt: number;
  /** why the site's log is not believed any more; empty while it is */
  readonly fault: string;
}

export interface SiteAuditStore {
  head(site: string): Promise<SiteAuditHead | undefined>;
  heads(): Promise<readonly SiteAuditHead[]>;
  /** Rows and head in one: give it a transaction. @throws AUDIT_BROKEN when the rows do not follow the stored ones */
  append(rows: readonly AuditRow[], head: SiteAuditHead): Promise<void>;
  /** newest first, of one site */
  list(site: string, filter: AuditFilter, limit: number): Promise<readonly AuditRow[]>;
}

const CHUNK = 100;

function toHead(row: Schema['site_audit_heads']): SiteAuditHead {
  const { site, size, checkpoint, heard_at: heardAt, fault } = row;
  return { site, size, frontier: rootsOf(row.frontier), checkpoint, heardAt, fault };
}

export function siteAuditStore(db: Kysely<Schema>): SiteAuditStore {
  return {
    async head(site) {
      const row = await db.selectFrom('site_audit_heads').selectAll().where('site', '=', site).executeTakeFirst();
      return row === undefined ? undefined : toHead(row);
    },
    async heads() {
      return (await db.selectFrom('site_audit_heads').selectAll().orderBy('site').execute()).map(toHead);
    },
    async append(rows, head) {
      const { site, size, frontier, checkpoint, heardAt, fault } = head;
      const values = { size, frontier: Buffer.concat(frontier), checkpoint_size: size, checkpoint, heard_at: heardAt, fault };
      await db
        .insertInto('site_audit_heads')
        .values({ site, ...values, size: 0, frontier: Buffer.alloc(0) })
        .onConflict((conflict) => conflict.column('site').doNothing())
        .execute();
      const [result] = await db
        .updateTable('site_audit_heads')
        .set(values)
        .where('site', '=', site)
        .where('size', '=', size - rows.length)
        .execute();
      const isNext = (result?.numUpdatedRows ?? 0n) === 1n && rows.every(({ seq }, index) => seq === size - rows.length + index);
      if (!isNext) throw new CodedError('AUDIT_BROKEN', `records of ${site} do not follow those that are stored`);
      for (let at = 0; at < rows.length; at += CHUNK)
        await db
          .insertInto('site_audit')
          .values(rows.slice(at, at + CHUNK).map((row) => ({ ...row, site })))
          .execute();
    },
    list(site, filter, limit) {
      let query = db
        .selectFrom('site_audit')
        .select(['seq', 'time', 'event', 'actor', 'target', 'record'])
        .where('site', '=', site)
        .orderBy('seq', 'desc')
        .limit(limit);
      for (const [column, operator, value] of conditionsOf(filter)) query = query.where(column, operator, value);
      return query.execute();
    },
  };
}
