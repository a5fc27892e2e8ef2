/** Who is enrolled where: each site's log of changed envoys, the hub's roster of all sites, and its journal of moves and drains. */
import { sql } from 'kysely';
import type { Migration } from './migration.ts';

const STATEMENTS: readonly string[] = [
  'create table roster_log (envoy_id text primary key, seq bigint not null unique)',
  'insert into roster_log (envoy_id, seq) select id, row_number() over (order by id) from envoys',
  `insert into counters (name, value) select 'roster_seq', count(*) from envoys where exists (select 1 from envoys)`,
  `create table roster (
    envoy_id text primary key, hostname text not null, status text not null, owner_site text not null, owner_epoch bigint not null,
    highest_epoch bigint not null, signed_grant text not null, identity text not null, heard_at bigint not null)`,
  'create index roster_owner on roster (owner_site, envoy_id)',
  'create index roster_hostname on roster (hostname)',
  'create table roster_sites (site_id text primary key, epoch bigint not null, seq bigint not null, heard_at bigint not null)',
  `create table moves (
    id text primary key, envoy_id text not null, hostname text not null, source text not null, target text not null,
    owner_epoch bigint not null, phase text not null, job text not null, forced bigint not null, signed_grant text not null,
    steps bigint not null, error text not null, message text not null, created_at bigint not null, committed_at bigint not null,
    ended_at bigint not null, unfinished bigint not null)`,
  'create index moves_unfinished on moves (unfinished, id)',
  'create index moves_envoy on moves (envoy_id, owner_epoch)',
  'create index moves_job on moves (job, phase)',
  `create table drains (
    id text primary key, kind text not null, site text not null, state text not null, targets text not null, envoys text not null,
    rate text not null, deadline_at bigint not null, actor text not null, total bigint not null, created_at bigint not null,
    ended_at bigint not null, error text not null)`,
  'create index drains_state on drains (state, id)',
];

export const moves: Migration = {
  name: '0004-moves',
  async up(db) {
    for (const text of STATEMENTS) await sql.raw(text).execute(db);
  },
};
