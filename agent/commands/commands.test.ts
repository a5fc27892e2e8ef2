/** Commands that need no server, through the program itself. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { canonicalBytes } from '../../core/base/json.ts';
import { VERSION } from '../../core/base/version.ts';
import type { CommandIo } from '../../core/command/command.ts';
import { runProgram } from '../../core/command/run.ts';
import { type BundleHeader, sha256Hex } from '../../core/policy/bundle.ts';
import { policyFrom } from '../../test/harness/policy.ts';
import { openStateStore } from '../state/lmdb-state-store.ts';
import { SnapshotStore } from '../state/snapshots.ts';
import { LocalSystem } from '../system/local-system.ts';
import { agentGlobals } from './globals.ts';
import { COMMANDS } from './index.ts';
import { formatStatus } from './status.ts';
import type { StatusFacts } from './status-facts.ts';

// real processes: patience for a busy machine
jest.setTimeout(60_000);

const home = mkdtempSync(join(tmpdir(), 'vigo-commands-'));
let configDir = home;
let stateDir = home;
let count = 0;
beforeEach(() => {
  count += 1;
  configDir = join(home, `${count}-config`);
  stateDir = join(home, `${count}-state`);
  mkdirSync(configDir, { mode: 0o700 });
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

async function vigo(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const io: CommandIo = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    stdin: () => Promise.resolve(''),
    ask: () => Promise.resolve(undefined),
    stdinIsTerminal: false,
    stdoutIsTerminal: false,
    stderrIsTerminal: false,
    columns: 120,
    env: {},
    signal: new AbortController().signal,
  };
  const program = { name: 'vigo', summary: '', version: VERSION, globals: agentGlobals, commands: COMMANDS };
  const code = await runProgram(program, [...words, '--config-dir', configDir, '--state-dir', stateDir], io);
  return { code, out, err };
}

const FACTS: StatusFacts = {
  envoy_id: 'a1b2c3d4-e5f6-7890-abcd-ef1234567890',
  server: 'vigo.example.com:1530',
  spoke: 'spoke1.dc1.example.com:1530 (dc1)',
  owner_epoch: 1,
  fallback_servers: ['vigo2.example.com:1530'],
  data_directory: '/etc/vigo-envoy',
  state_store: '/var/lib/vigo/state',
  state_store_error: null,
  release: 42,
  proven_current_at: '2026-03-16T12:03:10Z',
  mode: null,
  warnings: [],
  policy: {
    version: '20260316T140000Z',
    match: 'web-01.example.com',
    environment: 'production',
    roles: ['webserver', 'monitoring'],
    modules: [
      {
        name: 'nginx',
        resources: [
          { type: 'package', primary: 'nginx' },
          { type: 'file', primary: '/etc/nginx/nginx.conf' },
        ],
      },
      { name: 'node_exporter', resources: [{ type: 'package', primary: 'prometheus-node-exporter' }] },
      { name: 'logrotate', resources: [] },
    ],
    resources: 12,
    max_age_s: 86_400,
  },
  traits: { collectors: 28, age_ms: 272_000 },
  pending_results: 0,
  server_pubkey: true,
};

describe('status', () => {
  test('looks exactly as documented', () => {
    expect(formatStatus(FACTS)).toBe(`Envoy ID:         a1b2c3d4-e5f6-7890-abcd-ef1234567890
Server:           vigo.example.com:1530
Spoke:            spoke1.dc1.example.com:1530 (dc1)
Fallback servers: vigo2.example.com:1530
Data directory:   /etc/vigo-envoy
State store:      /var/lib/vigo/state
Enforcing:        release 42, proven current at 2026-03-16T12:03:10Z

Policy:
  Cached:         yes
  Version:        20260316T140000Z
  Match:          web-01.example.com
  Environment:    production
  Roles:          webserver, monitoring
  Modules:        3 (nginx, node_exporter, logrotate)
  Resources:      12
  Max age:        86400s
  [nginx]
    package: nginx
    file: /etc/nginx/nginx.conf
  [node_exporter]
    package: prometheus-node-exporter
  [logrotate]

Traits:
  Cached:         yes
  Collectors:     28
  Cache age:      4m 32s

Pending results:  0
Server pubkey:    present
`);
  });

  test('says what is wrong', () => {
    const text = formatStatus({
      ...FACTS,
      envoy_id: null,
      spoke: null,
      fallback_servers: [],
      mode: 'observe',
      warnings: ['stale bundle', 'clock skew 7m'],
      policy: null,
      traits: null,
    });
    expect(text).toContain('Envoy ID:         (not registered)\nServer:           vigo.example.com:1530\nFallback servers: none\n');
    expect(text).toContain(
      'Enforcing:        nothing\nMode:             observe\nWarning:          stale bundle\nWarning:          clock skew 7m\n\nPolicy:\n  Cached:         no\n\nTraits:\n  Cached:         no\n\n',
    );
    const broken = formatStatus({ ...FACTS, state_store_error: 'damaged', server_pubkey: false });
    expect(broken).toContain(
      '\n\nPolicy:           (state store unavailable: damaged)\n\nTraits:           (state store unavailable)\n\nPending results:  (state store unavailable)\nServer pubkey:    absent\n',
    );
  });

  test('a machine that was never enrolled has a status, and asking leaves nothing behind', async () => {
    const { code, out } = await vigo('status');
    expect(code).toBe(0);
    expect(out).toContain('Envoy ID:         (not registered)\n');
    expect(out).toContain('Policy:\n  Cached:         no\n');
    expect(() => readFileSync(stateDir)).toThrow('ENOENT');
  });

  test('reads what is held, and a damaged store is told, not thrown', async () => {
    const { body } = policyFrom({
      web: 'resources:\n- type: package\n  package: nginx\n- name: key\n  type: user\n  username: web\n  password: secret:db/password',
    });
    const state = openStateStore(join(stateDir, 'state'));
    const header = {
      kind: 'bundle',
      seq: 1,
      epoch: 1,
      owner_epoch: 1,
      release: 7,
      issued_at: '2026-03-16T00:00:00Z',
      expires_at: '2026-03-17T00:00:00Z',
      observe: true,
    } as BundleHeader;
    await state.policy.keep({
      header,
      headerHash: 'x',
      body: { sha256: sha256Hex(canonicalBytes(body)), policyHash: '', body, text: canonicalBytes(body).toString('utf8') },
      receivedAt: 0,
    });
    await state.facts.set('noPolicy', 'no_match');
    await state.close();
    const { out } = await vigo('status');
    expect(out).toContain(
      'Enforcing:        release 7\nMode:             observe\nWarning:          stale bundle\nWarning:          no policy at server (no_match)\n',
    );
    expect(out).toContain(
      '  Modules:        1 (web)\n  Resources:      2\n  Max age:        86400s\n  [web]\n    package: nginx\n    user: web\n',
    );
    const json = JSON.parse((await vigo('status', '--json')).out) as Record<string, unknown>;
    expect(json).toMatchObject({ envoy_id: null, release: 7, spoke: null, pending_results: 0 });
    writeFileSync(join(stateDir, 'state/data.mdb'), 'rubbish');
    const damaged = await vigo('status');
    expect([damaged.code, damaged.out.includes('Policy:           (state store unavailable: ')]).toEqual([0, true]);
  });
});

describe('traits', () => {
  test('all, some, one value; an unknown one is an error with a hint', async () => {
    const all = JSON.parse((await vigo('traits')).out) as Record<string, unknown>;
    expect(Object.keys(all)).toEqual(expect.arrayContaining(['os', 'memory']));
    expect(Object.keys(JSON.parse((await vigo('traits', 'os', 'time')).out) as object)).toEqual(['os', 'time']);
    expect((await vigo('traits', 'os.arch_raw')).out).toMatch(/^\w+\n$/);
    expect((await vigo('traits', 'memory.total_mb')).out).toMatch(/^\d+\n$/);
    expect(await vigo('traits', 'os.nope')).toMatchObject({ code: 1, out: '' });
    expect((await vigo('traits', 'memry')).err).toContain('did you mean "memory"?');
  });
});

test('version', async () => {
  expect(await vigo('version')).toEqual({ code: 0, out: `vigo ${VERSION}\n`, err: '' });
  expect(JSON.parse((await vigo('version', '--json')).out)).toEqual({ version: VERSION, commit: null, protocol: 1 });
});

test('snapshots are listed, shown, compared and put back', async () => {
  const target = join(home, 'conf');
  const store = new SnapshotStore(new LocalSystem(), { folder: join(stateDir, 'snapshots'), retention: 5 });
  for (const text of ['one\n', 'two\n']) {
    writeFileSync(target, text);
    await store.keep(target, { run: 'r', module: 'web', resource: 'conf', action: 'updated', sensitive: false });
  }
  writeFileSync(target, 'three\n');
  const list = await vigo('snapshots', 'list');
  expect(list.out.split('\n')[0]?.split(/ +/)).toEqual(['PATH', 'N', 'TIME', 'MODULE', 'RESOURCE', 'ACTION', 'SIZE']);
  expect(list.out.trim().split('\n').length).toBe(3);
  expect((await vigo('snapshots', 'show', target, '2')).out).toBe('one\n');
  expect((await vigo('snapshots', 'diff', target)).out).toBe('@@ line 1 @@\n-two\n+three\n');
  const restored = await vigo('snapshots', 'restore', target, '2');
  expect([restored.code, readFileSync(target, 'utf8')]).toEqual([0, 'one\n']);
  expect(restored.err).toContain('will enforce its own content again');
  expect((await vigo('snapshots', 'show', target)).out).toBe('three\n');
  expect(await vigo('snapshots', 'show', target, '9')).toMatchObject({ code: 2 });
});

test('the doctor names what is wrong, and tells keys that others can read by its exit code', async () => {
  const before = await vigo('doctor', '--server', 'localhost:1');
  expect([before.code, before.out.includes('fail  identity: this machine is not enrolled')]).toEqual([1, true]);
  writeFileSync(join(configDir, 'identity.key'), 'x');
  chmodSync(join(configDir, 'identity.key'), 0o644);
  const after = await vigo('doctor', '--server', 'localhost:1');
  expect(after.code).toBe(6);
  expect(after.out).toContain(`fail  ${configDir}/identity.key: has mode 644 (chmod go= ${configDir}/identity.key)`);
  expect((await vigo('doctor', '--server', 'no-such-name.invalid:1530')).out).toContain('the name cannot be resolved');
});

test('run needs an enrolment', async () => {
  expect(await vigo('run')).toMatchObject({ code: 6, out: '' });
});
