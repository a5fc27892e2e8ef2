/** The first tables. Types that both databases understand; only bytes and the growing key differ. */
import { sql } from 'kysely';
import type { DialectName, Migration } from './migration.ts';

function statements(dialect: DialectName): readonly string[] {
  const bytes = dialect === 'postgres' ? 'bytea' : 'blob';
  const position = dialect === 'postgres' ? 'bigserial primary key' : 'integer primary key autoincrement';
  const emptyBytes = dialect === 'postgres' ? `''::bytea` : `x''`;
  return [
    `create table envoys (
      id text primary key, hostname text not null, identity_key ${bytes} not null, sealing_key ${bytes} not null, status text not null,
      owner_epoch bigint not null, enrolled_at bigint not null, certificate_expires_at bigint not null, platform text not null,
      agent_version text not null, address text not null, labels text not null, reason text not null)`,
    `create unique index envoys_live on envoys (hostname) where status = 'active'`,
    `create index envoys_hostname on envoys (hostname, enrolled_at)`,
    `create table identity_keys (key ${bytes} primary key, envoy_id text not null)`,
    `create table envoy_state (
      id text primary key references envoys (id) on delete cascade, sequence bigint not null, last_seen bigint not null, release bigint not null,
      policy_hash text not null, secrets_epoch bigint not null, held_seq bigint not null, held_header_hash text not null,
      traits_hash text not null, flags bigint not null, run_state text not null, detail text not null, streak bigint not null,
      reset_pending bigint not null, drift text not null, clean bigint not null, counted_policy text not null, counted_epoch bigint not null,
      counted_at bigint not null)`,
    `create table trait_sets (envoy_id text primary key references envoys (id) on delete cascade, hash text not null)`,
    `create table traits (
      envoy_id text not null references envoys (id) on delete cascade, collector text not null, value text not null,
      primary key (envoy_id, collector))`,
    `create index traits_collector on traits (collector, envoy_id)`,
    `create table enroll_tokens (
      id text primary key, secret_hash text not null, pattern text not null, environment text not null, labels text not null, note text not null,
      created_by text not null, created_at bigint not null, expires_at bigint not null, revoked_at bigint not null, spent_at bigint not null,
      spent_envoy text not null, spent_hostname text not null, spent_key text not null, spent_address text not null)`,
    `create table runs (
      position ${position}, run_id text not null, subject text not null, hostname text not null, received_at bigint not null,
      started_at bigint not null, ended_at bigint not null, mode text not null, partial text not null, flags text not null,
      release bigint not null, body_hash text not null, ok bigint not null, changed bigint not null, failed bigint not null,
      blocked bigint not null, skipped bigint not null, unique (subject, run_id))`,
    `create index runs_id on runs (run_id)`,
    `create index runs_of on runs (subject, position)`,
    `create index runs_received on runs (received_at)`,
    `create table run_details (position bigint primary key references runs (position) on delete cascade, report text not null)`,
    `create table audit (
      seq bigint primary key, time bigint not null, event text not null, actor text not null, target text not null, record text not null)`,
    `create table audit_head (one integer primary key check (one = 1), size bigint not null, frontier ${bytes} not null)`,
    `insert into audit_head (one, size, frontier) values (1, 0, ${emptyBytes})`,
    `create table checkpoints (size bigint primary key, time bigint not null, note text not null, frontier ${bytes} not null)`,
    `create table releases (
      number bigint primary key, version text not null, root text not null, author text not null, approver text not null, message text not null,
      created_at bigint not null, files text not null, entries_affected bigint not null, envoys_affected bigint not null,
      warnings bigint not null, flags text not null, rollback_of bigint not null, result text not null, watch text not null)`,
    `create table counters (name text primary key, value bigint not null)`,
    `create table numbered (name text not null, text text not null, number bigint not null, primary key (name, text))`,
    `create table users (
      id text primary key, username text not null unique, display_name text not null, email text not null, role text not null,
      enabled bigint not null, password_hash text not null, scope text not null, created_at bigint not null, last_login_at bigint not null)`,
    `create table api_tokens (
      id text primary key, name text not null, user_id text not null, secret_hash text not null, scopes text not null,
      created_at bigint not null, expires_at bigint not null, last_used_at bigint not null, last_used_from text not null)`,
    `create index api_tokens_user on api_tokens (user_id)`,
  ];
}

export const first: Migration = {
  name: '0001-first',
  async up(db, dialect) {
    for (const text of statements(dialect)) await sql.raw(text).execute(db);
  },
};
