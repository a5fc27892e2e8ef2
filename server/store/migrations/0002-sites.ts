/** What a hub knows of its spokes. */
import { sql } from 'kysely';
import type { Migration } from './migration.ts';

const statement = `create table sites (
  id text primary key, source text not null, addr text not null, api_url text not null, fallback text not null, patterns text not null,
  weight bigint not null, labels text not null, state text not null, created_at bigint not null, state_at bigint not null,
  epoch bigint not null, server_id text not null, server_key text not null, delegation text not null, ca text not null,
  join_hash text not null, join_expires_at bigint not null, join_spent_at bigint not null, join_answer text not null, last_seen bigint not null)`;

export const sites: Migration = {
  name: '0002-sites',
  async up(db) {
    await sql.raw(statement).execute(db);
  },
};
