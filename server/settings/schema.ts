/** Every key of server.yaml (server.md §2), with types and defaults. Keys are as written in the file; durations are milliseconds, sizes bytes. */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { ai, backup, devices, exports_, risk, scrier, smtp, swarm, tasks, webhooks } from './organs.ts';
import {
  cidr,
  DAY,
  duration,
  flag,
  given,
  HOUR,
  hostPort,
  httpsUrl,
  labels,
  listenAddress,
  listOf,
  MIB,
  MINUTE,
  oneOf,
  section,
  siteId,
  size,
  text,
  texts,
  whole,
} from './values.ts';

const S = 1000;
const KIB = 1024;

export const ROLES = ['standalone', 'hub', 'spoke'] as const;

const server = (hostname: string) =>
  section({
    hostname: text.max(253).default(hostname),
    site_id: siteId.optional(),
    grpc_listen: listenAddress.default(':1530'),
    api_listen: listenAddress.default(':8443'),
    threads: whole(0, 0, 16).transform((threads) => (threads > 0 ? threads : Math.min(16, Math.max(1, availableParallelism() - 1)))),
    public_url: httpsUrl.optional(),
    advertise: hostPort.optional(),
    tls: section({
      sans: texts.default([]),
      api_cert_file: text.optional(),
      api_key_file: text.optional(),
      server_cert_days: whole(30, 1, 90),
      envoy_cert_days: whole(30, 1, 90),
      session_tickets: flag(true),
    }),
    trusted_proxies: listOf(cidr),
    local_socket: text.default('run/admin.sock'),
  }).transform((given) => ({
    ...given,
    public_url: given.public_url ?? `https://${given.hostname}:8443`,
    advertise: given.advertise ?? `${given.hostname}:1530`,
  }));

const database = section({
  driver: oneOf(['sqlite', 'postgres']).default('sqlite'),
  path: text.default('db/vigo.db'),
  url: text.optional(),
  ca_file: text.optional(),
  pool: whole(10, 1, 50),
  busy_timeout: duration(10 * S),
  flush_interval: duration(10 * S, { min: S, max: MINUTE }),
  flush_batch: whole(500, 1),
  retention: section({
    runs: duration(30 * DAY),
    tasks: duration(90 * DAY),
    traits_history: duration(30 * DAY),
    events: duration(90 * DAY),
  }),
});

const checkin = section({
  interval: duration(60 * S, { min: 5 * S, max: DAY }),
  jitter_pct: whole(10, 0, 50),
  stale_factor: whole(3, 2, 20),
  overrides: listOf(given({ target: text, interval: duration(60 * S, { min: 5 * S, max: DAY }) })),
  connection: oneOf(['auto', 'keep', 'close']).default('auto'),
  keep_below: duration(30 * S),
  keep_max: whole(10_000),
  stream_idle: duration(30 * S),
  observe_only: flag(false),
  bundle_max_age: duration(DAY),
  offline_policy: oneOf(['continue', 'stop']).default('continue'),
  queue_max_runs: whole(1000, 1),
  queue_max_size: size(50 * MIB),
  herd_window: duration(60 * S),
});

const enrollment = section({
  token_ttl: duration(DAY, { min: MINUTE, max: 30 * DAY }),
  token_bcrypt_cost: whole(12, 10, 14),
  trusted: listOf(given({ pattern: text, cidr, environment: text.optional() })),
  pending: texts.default([]),
  hostname_conflict: oneOf(['refuse', 'approve']).default('refuse'),
  key_reuse: oneOf(['refuse']).default('refuse'),
});

const secrets = section({
  backend: oneOf(['local', 'vault', 'command', 'file']).default('local'),
  poll: duration(60 * S, { min: S }),
  cache_max: whole(10_000, 1),
  secrets_dir: text.default('secrets'),
  key_file: text.default('master.key'),
  vault: given({
    addr: httpsUrl,
    mount: text.default('secret'),
    namespace: text.optional(),
    token_file: text,
    ca_file: text.optional(),
    timeout: duration(5 * S),
  }).optional(),
  command: given({ argv: texts.min(1), timeout: duration(10 * S) }).optional(),
  file: given({ dir: text, allow_insecure_file: flag(false) }).optional(),
});

const percent = (byDefault: number) => whole(byDefault, 0, 100);
const publish = section({
  require_approval: flag(false),
  approval_ttl: duration(DAY),
  approvers: texts.default([]),
  break_glass: flag(false),
  blast_radius: section({
    enabled: flag(true),
    threshold_pct: percent(80),
    max_drop_pct: percent(10),
    window: z.union([z.literal('auto'), duration(0)]).default('auto'),
    min_envoys: whole(3, 1),
    min_share_pct: percent(10),
    spoke_scope: flag(true),
    freeze_after: duration(HOUR),
  }),
  rings: listOf(
    given({
      name: text,
      soak: duration(0).unwrap().optional(),
      min_ok_pct: percent(95),
      share_pct: percent(0).unwrap().optional(),
      label: text.optional(),
      spoke: text.optional(),
      target: text.optional(),
    }),
  ),
  url_check: oneOf(['on', 'warn', 'off']).default('on'),
  url_check_private: flag(true),
  url_check_timeout: duration(10 * S),
  freeze: listOf(given({ cron: text, for: duration(HOUR), timezone: text.optional(), reason: text })),
  keep_releases: whole(50, 1),
  keep_days: whole(90),
  max_tree_size: size(256 * MIB),
  max_files: whole(20_000, 1),
});

const auth = section({
  methods: z
    .array(oneOf(['basic', 'oidc']))
    .min(1, 'at least one method is wanted')
    .default(['basic']),
  session_idle: duration(30 * MINUTE),
  session_max: duration(12 * HOUR),
  sessions_per_user: whole(10, 1),
  password_min_length: whole(14, 12),
  lockout: section({ failures: whole(10, 1), window: duration(15 * MINUTE) }),
  totp: oneOf(['off', 'optional', 'admins', 'all']).default('optional'),
  oidc: given({
    issuer: httpsUrl,
    client_id: text,
    client_secret: text,
    scopes: texts.default(['openid', 'profile', 'email']),
    username_claim: text.default('preferred_username'),
    groups_claim: text.default('groups'),
    role_map: listOf(given({ group: text, role: text, scope: z.record(z.string(), z.json()).optional() })),
    default_role: text.default('none'),
  }).optional(),
  api_tokens: section({ max_ttl: duration(365 * DAY), max_per_user: whole(20, 1) }),
  cookie_name: text.default('__Host-vigo'),
});

const audit = section({
  checkpoint_every: whole(256, 1),
  witnesses: z
    .array(text.regex(/^(peer|hub|agents|webhook|file:.+)$/, 'peer, hub, agents, webhook or file:<path> is wanted'))
    .default(['peer', 'hub', 'agents']),
  read_events: flag(false),
});

const metrics = section({
  enabled: flag(true),
  access: oneOf(['token', 'network', 'open']).default('token'),
  networks: z.array(cidr).default(['127.0.0.1/32', '::1/128']),
  per_envoy: flag(false),
});

const log = section({
  level: oneOf(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
  format: oneOf(['json', 'text']).default('json'),
});

const spanner = section({
  role: oneOf(ROLES).default('standalone'),
  hub_addr: z.union([hostPort.transform((one) => [one]), z.array(hostPort).min(1)]).optional(),
  spoke_id: siteId.optional(),
  join_token_file: text.optional(),
  spokes: listOf(
    given({
      id: siteId,
      addr: hostPort,
      fallback: z.array(hostPort).default([]),
      patterns: texts.default([]),
      weight: whole(100, 1, 1000),
      labels: labels.default({}),
    }),
  ),
  default_spoke: siteId.or(oneOf(['none'])).default('none'),
  own_envoys: flag(true),
  heartbeat: duration(10 * S, { min: 200 }),
  query_deadline: duration(5 * S, { min: 100 }),
  offline_enroll_tokens: whole(50, 0, 1000),
  event_queue_max: size(512 * MIB),
  move_rate_pct: z.number({ error: 'a number is wanted' }).min(0.1).max(20).default(2),
});

const peers = section({
  members: listOf(given({ id: siteId, addr: hostPort, api_url: httpsUrl })),
  self: siteId.optional(),
  follow: siteId.optional(),
  wait_peer: flag(true),
  wait_timeout: duration(5 * S),
  read_check_ins: flag(true),
  scan_interval: duration(60 * S),
  max_lag: duration(30 * S),
  join_token_file: text.optional(),
});

const limits = section({
  grpc_message: size(4 * MIB),
  rest_body: size(2 * MIB),
  traits_size: size(MIB),
  report_size: size(4 * MIB),
  bundle_inline: size(64 * KIB),
  bundle_size: size(8 * MIB),
  connections_total: whole(50_000, 1),
  connections_per_ip: whole(5000, 1),
  handshakes_per_s: whole(500, 1).optional(),
  streams_per_connection: whole(16, 1),
  header_timeout: duration(10 * S),
  body_timeout: duration(30 * S),
  enroll_per_ip_per_min: whole(300, 1),
  enroll_per_s: whole(50, 1),
  login_per_ip_per_min: whole(20, 1),
  api_per_token_per_s: whole(50, 1),
  api_per_ip_per_s: whole(100, 1),
  write_buffer_per_connection: size(MIB),
  sse_per_user: whole(8, 1),
  sse_total: whole(500, 1),
  heavy_queries: whole(4, 1),
  json_depth: whole(32, 1),
  json_keys: whole(10_000, 1),
  budget: section({ checkin_pct: percent(60), results_pct: percent(20), enroll_pct: percent(10), admin_pct: percent(10) }),
  memory_high: z.union([size(0), text]).optional(),
});

/** `hostname`: the machine's full name, the default of server.hostname. */
export function settingsSchema(hostname: string) {
  const schema = z.strictObject(
    {
      data_dir: text.default('/srv/vigo'),
      server: server(hostname),
      database,
      checkin,
      spanner,
      peers,
      enrollment,
      secrets,
      publish,
      auth,
      audit,
      metrics,
      log,
      webhooks,
      smtp,
      export: exports_,
      ai,
      scrier,
      swarm,
      tasks,
      devices,
      risk,
      backup,
      limits,
    },
    { error: (issue) => (issue.code === 'invalid_type' ? 'one mapping is wanted' : undefined) },
  );
  return schema.transform((settings) => {
    const { role, spoke_id: spokeId } = settings.spanner;
    const siteOf = { standalone: settings.server.site_id ?? 'main', hub: 'hub', spoke: spokeId ?? '' };
    return { ...settings, server: { ...settings.server, site_id: siteOf[role] } };
  });
}

export type Settings = z.output<ReturnType<typeof settingsSchema>>;

/** Keys of some roles alone. */
export const KEYS_OF_ROLES: Readonly<Record<string, readonly (typeof ROLES)[number][]>> = {
  'server.site_id': ['standalone'],
  'spanner.hub_addr': ['spoke'],
  'spanner.spoke_id': ['spoke'],
  'spanner.join_token_file': ['spoke'],
  'spanner.offline_enroll_tokens': ['spoke'],
  'spanner.event_queue_max': ['spoke'],
  'spanner.spokes': ['hub'],
  'spanner.default_spoke': ['hub'],
  'spanner.own_envoys': ['hub'],
  'spanner.query_deadline': ['hub'],
  'spanner.move_rate_pct': ['hub'],
  'spanner.heartbeat': ['hub', 'spoke'],
};

/** Values that `check-config --print` never shows; `*` stands for any one part. */
export const SECRET_KEYS: readonly string[] = [
  'database.url',
  'auth.oidc.client_secret',
  'webhooks.*.secret',
  'smtp.password',
  'export.siem.push.*.token',
  'ai.api_key',
];
