/** Envoys that come from and go to other sites, with the grants that say so. */
import { sql } from 'kysely';
import type { Migration } from './migration.ts';

export const ownership: Migration = {
  name: '0003-ownership',
  async up(db) {
    for (const text of [
      `create table ownerships (
        envoy_id text primary key, state text not null, owner_epoch bigint not null, granted text not null, record text not null, at bigint not null)`,
      `create index ownerships_state on ownerships (state, envoy_id)`,
      `create table site_facts (name text primary key, value text not null)`,
    ])
      await sql.raw(text).execute(db);
  },
};
