/** A hub's rollouts by ring and its copies of the audit logs of its sites. */
import { sql } from 'kysely';
import type { Migration } from './migration.ts';

export const sync: Migration = {
  name: '0005-sync',
  async up(db, dialect) {
    const bytes = dialect === 'postgres' ? 'bytea' : 'blob';
    const statements = [
      `create table rollouts (
        number bigint primary key, former bigint not null, state text not null, ring bigint not null, rings text not null,
        baseline text not null, error text not null, started_at bigint not null, changed_at bigint not null)`,
      `create table site_audit (
        site text not null, seq bigint not null, time bigint not null, event text not null, actor text not null, target text not null,
        record text not null, primary key (site, seq))`,
      `create index site_audit_time on site_audit (time, site, seq)`,
      `create table site_audit_heads (
        site text primary key, size bigint not null, frontier ${bytes} not null, checkpoint_size bigint not null, checkpoint text not null,
        heard_at bigint not null, fault text not null)`,
    ];
    for (const text of statements) await sql.raw(text).execute(db);
  },
};
