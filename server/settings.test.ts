/** server.yaml: defaults, units, and all problems at once with their places. */
import { describe, expect, test } from '@jest/globals';
import { formatProblem } from '../core/base/problem.ts';
import { effectiveSettings, readSettings } from './settings.ts';

const context = { file: 'server.yaml', hostname: 'host.example.com' };

function settingsOf(yaml: string) {
  const result = readSettings(yaml, context);
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  return result;
}

function problemsOf(yaml: string): string[] {
  const result = readSettings(yaml, context);
  return result.ok ? [] : result.problems.map(formatProblem);
}

describe('a good file', () => {
  test('may be empty: every value has its default, in milliseconds and bytes', () => {
    const { settings } = settingsOf('');
    expect(settings.server).toMatchObject({
      hostname: 'host.example.com',
      site_id: 'main',
      grpc_listen: ':1530',
      api_listen: ':8443',
      public_url: 'https://host.example.com:8443',
      advertise: 'host.example.com:1530',
    });
    expect(settings.checkin).toMatchObject({ interval: 60_000, stale_factor: 3, bundle_max_age: 86_400_000, queue_max_size: 52_428_800 });
    expect(settings.database).toMatchObject({ driver: 'sqlite', path: 'db/vigo.db', flush_interval: 10_000, busy_timeout: 10_000 });
    expect(settings.limits).toMatchObject({ grpc_message: 4_194_304, bundle_inline: 65_536, budget: { checkin_pct: 60 } });
    expect(settings.publish.blast_radius).toMatchObject({ enabled: true, window: 'auto', freeze_after: 3_600_000 });
    expect(settings.server.threads).toBeGreaterThanOrEqual(1);
  });

  test('gives every value its origin', () => {
    const result = settingsOf(
      'server: { hostname: vigo.example.com }\ncheckin:\n  interval: 15s # fast\n  overrides:\n    - { target: "*", interval: 1h }\n',
    );
    const values = effectiveSettings(result);
    const of = (key: string) => values.find((value) => value.key === key);
    expect(of('checkin.interval')).toEqual({ key: 'checkin.interval', value: 15_000, from: { file: 'server.yaml', line: 3, column: 3 } });
    expect(of('checkin.overrides.0.interval')).toMatchObject({ value: 3_600_000, from: { line: 5 } });
    expect(of('checkin.stale_factor')).toEqual({ key: 'checkin.stale_factor', value: 3, from: undefined });
    expect(result.settings.server.public_url).toBe('https://vigo.example.com:8443');
  });

  test('is printed without secrets, references stay readable', () => {
    const yaml = `
database: { driver: postgres, url: "postgres://u:hunter2@db/v" }
smtp: { host: mail, from: a@b, to: [c@d], password: hunter2 }
webhooks: [{ name: a, url: "https://x/", secret: hunter2 }, { name: b, url: "https://y/", secret: "secret:hooks/b" }]
`;
    const values = effectiveSettings(settingsOf(yaml));
    expect(JSON.stringify(values)).not.toContain('hunter2');
    expect(values.find(({ key }) => key === 'webhooks.1.secret')?.value).toBe('secret:hooks/b');
  });

  test('knows the alias secrets.provider', () => {
    expect(settingsOf('secrets: { provider: command, command: { argv: [get] } }').settings.secrets.backend).toBe('command');
  });
});

describe('problems', () => {
  test('are shown all together, each at its place', () => {
    const yaml = `
server:
  hostnam: x
checkin:
  interval: soon
  jitter_pct: 60
database: { driver: oracle }
publish:
  blast_radius: { enabled: "yes" }
bogus: 1
`;
    expect(problemsOf(yaml)).toEqual([
      'server.yaml:3:3: error SETTINGS unknown key server.hostnam (did you mean "hostname"?)',
      'server.yaml:5:3: error SETTINGS checkin.interval: a duration is wanted, such as 15s, 5m or 24h',
      'server.yaml:6:3: error SETTINGS checkin.jitter_pct: at most 50 is wanted',
      'server.yaml:7:13: error SETTINGS database.driver: one of sqlite, postgres is wanted',
      'server.yaml:9:19: error SETTINGS publish.blast_radius.enabled: true or false is wanted',
      'server.yaml:10:1: error SETTINGS unknown key bogus',
    ]);
  });

  test.each([
    [
      'spanner: { hub_addr: "h:1530" }',
      "server.yaml:1:12: error SETTINGS spanner.hub_addr belongs to role spoke, and this server's role is standalone",
    ],
    [
      'spanner: { spokes: [] }',
      "server.yaml:1:12: error SETTINGS spanner.spokes belongs to role hub, and this server's role is standalone",
    ],
    ['spanner: { role: spoke, spoke_id: dc1 }', 'spanner.hub_addr is needed with role spoke'],
    ['spanner: { role: spoke, hub_addr: "h:1530" }', 'spanner.spoke_id is needed with role spoke'],
    ['spanner: { role: spoke, spoke_id: hub, hub_addr: "h:1530" }', 'a spoke cannot be called hub'],
    ['spanner: { role: hub, spokes: [{ id: a, addr: "a:1" }, { id: a, addr: "b:1" }] }', 'there are two spokes a'],
    ['database: { driver: postgres }', 'server.yaml:1:1: error SETTINGS database.url is needed with driver postgres'],
    ['secrets: { backend: vault }', 'server.yaml:1:1: error SETTINGS secrets.vault is needed with backend vault'],
    ['secrets: { file: { dir: x } }', 'server.yaml:1:12: error SETTINGS secrets.file belongs to backend file'],
    ['secrets: { key_file: "secret:a/b" }', 'cannot be a secret reference'],
    ['webhooks: [{ name: a, url: "http://x", secret: s }]', 'server.yaml:1:23: error SETTINGS webhooks.0.url: an https URL is wanted'],
    ['webhooks: [{ name: a, url: "https://x" }]', 'webhooks.0.secret is needed'],
    ['webhooks: [{ name: a, url: "https://x", secret: s, evnts: [] }]', 'unknown key webhooks.0.evnts (did you mean "events"?)'],
    ['checkin: { interval: 1s }', 'checkin.interval: a duration from 5s to 86400s is wanted'],
    ['checkin: [1]', 'server.yaml:1:1: error SETTINGS checkin: a mapping is wanted'],
    ['server: { tls: { api_cert_file: a } }', 'tls.api_cert_file and tls.api_key_file are given together'],
    ['a: 1\na: 2', 'server.yaml:2:1: error SETTINGS Map keys must be unique'],
    ['a: [', 'error SETTINGS'],
    ['---\na: 1\n---\nb: 1', 'error SETTINGS'],
    ['- 1', 'one mapping is wanted'],
    ['server: &a { tls: *a }', 'error SETTINGS'],
    [
      'auth: { oidc: &a { issuer: https://x, client_id: a, client_secret: b, role_map: [{ group: g, role: r, scope: *a }] } }',
      'nested deeper',
    ],
    ['__proto__: { a: 1 }', 'unknown key __proto__'],
    ['constructor: 1', 'unknown key constructor'],
  ])('in %j', (yaml, expected) => {
    expect(problemsOf(yaml).join('\n')).toContain(expected);
  });

  test('a file above 1 MiB is not read', () => {
    expect(problemsOf(`x: "${'a'.repeat(1_100_000)}"`).join()).toContain('above 1 MiB');
  });
});
