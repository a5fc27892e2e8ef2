/** The tables as Kysely sees them. Times are milliseconds since 1970, booleans 0 or 1, lists and maps JSON text: one shape for both databases. */
import type { Generated } from 'kysely';

interface EnvoysTable {
  id: string;
  hostname: string;
  identity_key: Buffer;
  sealing_key: Buffer;
  status: string;
  owner_epoch: number;
  enrolled_at: number;
  certificate_expires_at: number;
  platform: string;
  agent_version: string;
  address: string;
  labels: string;
  reason: string;
}

interface EnvoyStateTable {
  id: string;
  sequence: number;
  last_seen: number;
  release: number;
  policy_hash: string;
  secrets_epoch: number;
  held_seq: number;
  held_header_hash: string;
  traits_hash: string;
  flags: number;
  run_state: string;
  detail: string;
  streak: number;
  reset_pending: number;
  drift: string;
  clean: number;
  counted_policy: string;
  counted_epoch: number;
  counted_at: number;
}

interface RunsTable {
  position: Generated<number>;
  run_id: string;
  subject: string;
  hostname: string;
  received_at: number;
  started_at: number;
  ended_at: number;
  mode: string;
  partial: string;
  flags: string;
  release: number;
  body_hash: string;
  ok: number;
  changed: number;
  failed: number;
  blocked: number;
  skipped: number;
}

interface SitesTable {
  id: string;
  source: string;
  addr: string;
  api_url: string;
  fallback: string;
  patterns: string;
  weight: number;
  labels: string;
  state: string;
  created_at: number;
  state_at: number;
  epoch: number;
  server_id: string;
  server_key: string;
  delegation: string;
  ca: string;
  join_hash: string;
  join_expires_at: number;
  join_spent_at: number;
  join_answer: string;
  last_seen: number;
}

export interface Schema {
  migrations: { name: string; applied_at: number };
  envoys: EnvoysTable;
  envoy_state: EnvoyStateTable;
  ownerships: { envoy_id: string; state: string; owner_epoch: number; granted: string; record: string; at: number };
  site_facts: { name: string; value: string };
  identity_keys: { key: Buffer; envoy_id: string };
  trait_sets: { envoy_id: string; hash: string };
  traits: { envoy_id: string; collector: string; value: string };
  enroll_tokens: {
    id: string;
    secret_hash: string;
    pattern: string;
    environment: string;
    labels: string;
    note: string;
    created_by: string;
    created_at: number;
    expires_at: number;
    revoked_at: number;
    spent_at: number;
    spent_envoy: string;
    spent_hostname: string;
    spent_key: string;
    spent_address: string;
    spent_site: string;
    spoke: string;
    permit: string;
  };
  permits: {
    id: string;
    site: string;
    record: string;
    not_after: number;
    spent_at: number;
    spent_for: string;
    pattern: string;
    told: number;
  };
  runs: RunsTable;
  run_details: { position: number; report: string };
  audit: { seq: number; time: number; event: string; actor: string; target: string; record: string };
  audit_head: { one: number; size: number; frontier: Buffer };
  checkpoints: { size: number; time: number; note: string; frontier: Buffer };
  releases: {
    number: number;
    version: string;
    root: string;
    author: string;
    approver: string;
    message: string;
    created_at: number;
    files: string;
    entries_affected: number;
    envoys_affected: number;
    warnings: number;
    flags: string;
    rollback_of: number;
    result: string;
    watch: string;
  };
  rollouts: {
    number: number;
    former: number;
    state: string;
    ring: number;
    rings: string;
    baseline: string;
    error: string;
    started_at: number;
    changed_at: number;
  };
  site_audit: { site: string; seq: number; time: number; event: string; actor: string; target: string; record: string };
  site_audit_heads: {
    site: string;
    size: number;
    frontier: Buffer;
    checkpoint_size: number;
    checkpoint: string;
    heard_at: number;
    fault: string;
  };
  counters: { name: string; value: number };
  roster_log: { envoy_id: string; seq: number };
  roster: {
    envoy_id: string;
    hostname: string;
    status: string;
    owner_site: string;
    owner_epoch: number;
    highest_epoch: number;
    signed_grant: string;
    identity: string;
    heard_at: number;
  };
  roster_sites: { site_id: string; epoch: number; seq: number; heard_at: number };
  moves: {
    id: string;
    envoy_id: string;
    hostname: string;
    source: string;
    target: string;
    owner_epoch: number;
    phase: string;
    job: string;
    forced: number;
    signed_grant: string;
    steps: number;
    error: string;
    message: string;
    created_at: number;
    committed_at: number;
    ended_at: number;
    unfinished: number;
  };
  drains: {
    id: string;
    kind: string;
    site: string;
    state: string;
    targets: string;
    envoys: string;
    rate: string;
    deadline_at: number;
    actor: string;
    total: number;
    created_at: number;
    ended_at: number;
    error: string;
  };
  numbered: { name: string; text: string; number: number };
  api_tokens: {
    id: string;
    name: string;
    user_id: string;
    secret_hash: string;
    scopes: string;
    created_at: number;
    expires_at: number;
    last_used_at: number;
    last_used_from: string;
  };
  sites: SitesTable;
  users: {
    id: string;
    username: string;
    display_name: string;
    email: string;
    role: string;
    enabled: number;
    password_hash: string;
    scope: string;
    created_at: number;
    last_login_at: number;
  };
}
