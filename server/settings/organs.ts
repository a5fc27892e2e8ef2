/** Sections of server.yaml that belong to organs around the core: hooks, mail, exports, remote access, swarm, tasks, devices, backup (server.md §2.12-2.16). */
import { z } from 'zod';
import {
  DAY,
  duration,
  flag,
  given,
  HOUR,
  hostPort,
  httpsUrl,
  labels,
  listOf,
  MIB,
  MINUTE,
  oneOf,
  section,
  size,
  text,
  texts,
  whole,
} from './values.ts';

const S = 1000;
const KIB = 1024;
const percent = (byDefault: number) => whole(byDefault, 0, 100);

export const webhooks = listOf(
  given({
    name: text,
    url: httpsUrl,
    events: texts.default(['*']),
    secret: text,
    headers: labels.default({}),
    timeout: duration(10 * S),
    ca_file: text.optional(),
    enabled: flag(true),
    max_attempts: whole(10, 1),
    private_addresses: flag(false),
  }),
);

export const smtp = given({
  host: text,
  port: whole(587, 1, 65_535),
  tls: oneOf(['starttls', 'implicit']).default('starttls'),
  username: text.optional(),
  password: text.optional(),
  from: text,
  to: texts.min(1),
  timeout: duration(30 * S),
  digest: duration(5 * MINUTE),
  events: z
    .record(
      z.string(),
      given({ enabled: flag(true), to: texts.optional(), threshold: percent(90).optional(), before: duration(14 * DAY).optional() }),
    )
    .default({}),
}).optional();

export const exports_ = section({
  siem: section({
    enabled: flag(false),
    format: oneOf(['json', 'cef']).default('json'),
    push: listOf(given({ url: httpsUrl.optional(), syslog_tls: hostPort.optional(), token: text.optional() })),
    events: texts.default(['audit.*', 'envoy.*', 'config.*', 'security.*']),
  }),
  cmdb: section({ enabled: flag(false), fields: texts.default([]) }),
  oscal: section({ enabled: flag(false), system_name: text.optional(), system_id: text.optional() }),
});

export const ai = section({
  provider: oneOf(['none', 'claude', 'openai', 'ollama']).default('none'),
  url: text
    .regex(/^(https:\/\/|http:\/\/(localhost|127\.0\.0\.1|\[::1\])[:/])/, 'an https URL is wanted (http only to loopback)')
    .optional(),
  model: text.optional(),
  api_key: text.optional(),
  timeout: duration(60 * S),
  max_context: size(64 * KIB),
});

export const scrier = section({
  enabled: flag(false),
  allowed_ports: z.array(whole(22, 1, 65_535)).default([22, 3389, 5900]),
  max_sessions: whole(20, 1),
  max_duration: duration(8 * HOUR),
  idle: duration(15 * MINUTE),
  consent: oneOf(['always', 'attended', 'never']).default('attended'),
  consent_timeout: duration(60 * S),
  recording: oneOf(['off', 'metadata', 'full']).default('metadata'),
  guacd_addr: hostPort.optional(),
  users: listOf(given({ role: text.optional(), user: text.optional(), os_users: texts })),
});

export const swarm = section({
  enabled: texts.default([]),
  port: whole(1531, 1, 65_535),
  max_bandwidth_pct: whole(50, 1, 100),
  max_store: size(10 * 1024 * MIB),
  lan: flag(false),
  gitback: texts.default([]),
  lockbox: texts.default([]),
});

export const tasks = section({
  allow_adhoc: flag(true),
  default_timeout: duration(60 * S),
  max_timeout: duration(HOUR),
  max_output: size(MIB),
  max_targets_unconfirmed: whole(100),
  hold_offline: duration(0),
  deny: texts.default([]),
});

export const devices = section({
  parallel: whole(10, 1),
  connect_timeout: duration(15 * S),
  command_timeout: duration(60 * S),
  confirm_timeout: duration(5 * MINUTE),
  archive_keep: whole(50, 1),
});

const weight = (byDefault: number) => z.number({ error: 'a number is wanted' }).min(0).max(1).default(byDefault);
export const risk = section({
  weights: section({ cve: weight(0.4), hardening: weight(0.25), patch_age: weight(0.2), exposure: weight(0.15) }),
});

export const backup = section({
  dir: text.default('backups'),
  every: duration(DAY),
  keep: whole(7, 1),
  recipient: z.union([text, texts]).optional(),
});
