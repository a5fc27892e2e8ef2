/** Permits to make tokens without the hub, and where tokens of a hub were used. */
import { sql } from 'kysely';
import type { Migration } from './migration.ts';

export const permits: Migration = {
  name: '0006-permits',
  async up(db) {
    for (const text of [
      `create table permits (
        id text primary key, site text not null, record text not null, not_after bigint not null, spent_at bigint not null, spent_for text not null,
        pattern text not null, told bigint not null)`,
      `create index permits_site on permits (site, spent_at, not_after)`,
      `create index envoys_identity_key on envoys (identity_key)`,
      `alter table enroll_tokens add column spent_site text not null default ''`,
      `alter table enroll_tokens add column spoke text not null default ''`,
      `alter table enroll_tokens add column permit text not null default ''`,
    ])
      await sql.raw(text).execute(db);
  },
};
