/** A real server with its REST API, asked by vigocli over the local socket and over HTTPS with a token. */
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { register } from '../../agent/enroll/register.ts';
import { createApiClient } from '../../cli/api-client.ts';
import { main } from '../../cli/main.ts';
import { connectionOf } from '../../cli/settings.ts';
import { ROUTES } from '../../core/api/index.ts';
import { streamRuns } from '../../core/api/runs.ts';
import { systemClock } from '../../core/base/clock.ts';
import { newId } from '../../core/base/ids.ts';
import { Redactor } from '../../core/base/redaction.ts';
import type { CommandIo } from '../../core/command/command.ts';
import { traitsHash } from '../../core/traits/delta.ts';
import { initSite } from '../../server/init.ts';
import { createConfigPort } from '../../server/publish/config-port.ts';
import { Publisher } from '../../server/publish/publisher.ts';
import { createRestServer, type RestServer } from '../../server/rest/app.ts';
import { handlersOf } from '../../server/rest/index.ts';
import { type RestParts, restParts } from '../../server/rest/parts.ts';
import { problemOf, toCoded } from '../../server/rest/problem.ts';
import { type RunningServer, startServer } from '../../server/server.ts';
import { readSettings } from '../../server/settings.ts';
import { quietLog } from '../fakes/quiet-log.ts';
import { eventually } from '../harness/eventually.ts';

const EXAMPLE = new URL('../../deploy/config-example', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'vigo-rest-'));
const dataDir = join(folder, 'data');
const home = join(folder, 'home');
let running: RunningServer;
let publisher: Publisher;
let restOf: RestParts;
let rest: RestServer;
let port = 0;
let rootCa = '';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function cli(argv: readonly string[], more: { stdin?: string; env?: Record<string, string>; terminal?: boolean } = {}): Promise<Ran> {
  let out = '';
  let err = '';
  const io: CommandIo = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    stdin: () => Promise.resolve(more.stdin ?? ''),
    ask: () => Promise.resolve(undefined),
    stdinIsTerminal: false,
    stdoutIsTerminal: more.terminal ?? false,
    stderrIsTerminal: false,
    columns: 120,
    env: { HOME: home, VIGO_DATA_DIR: dataDir, NO_COLOR: '1', ...more.env },
    signal: new AbortController().signal,
  };
  return { code: await main(argv, io), out, err };
}

function https(
  method: string,
  path: string,
  options: { headers?: Record<string, string>; body?: string; socketPath?: string } = {},
): Promise<{ status: number; headers: Record<string, unknown>; body: string }> {
  return new Promise((resolve, reject) => {
    const where = options.socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath: options.socketPath };
    const outgoing = request({
      ...where,
      servername: 'localhost',
      ca: rootCa,
      method,
      path,
      headers: { ...(options.body === undefined ? {} : { 'content-type': 'application/json' }), ...options.headers },
    });
    outgoing.once('error', reject);
    outgoing.once('response', (reply) => {
      let body = '';
      reply.setEncoding('utf8');
      reply.on('data', (chunk: string) => {
        body += chunk;
      });
      reply.on('end', () => resolve({ status: reply.statusCode ?? 0, headers: reply.headers, body }));
    });
    outgoing.end(options.body);
  });
}

beforeAll(async () => {
  await initSite({
    dataDir,
    hostname: 'localhost',
    admin: 'root',
    offlineRoot: undefined,
    forceEmpty: false,
    exampleTree: EXAMPLE,
    clock: systemClock,
    settings: {},
  });
  const text =
    'server: { hostname: localhost, grpc_listen: "127.0.0.1:0", threads: 1 }\nenrollment: { token_bcrypt_cost: 10, pending: ["wait-*"] }\n';
  const read = readSettings(text, { file: 'server.yaml', hostname: 'localhost' });
  if (!read.ok) throw new Error(read.problems.map(({ message }) => message).join());
  running = await startServer({
    dataDir,
    settings: read.settings,
    clock: systemClock,
    log: quietLog(),
    redactor: new Redactor(),
    version: 'test',
    fatal: (error) => {
      throw error;
    },
  });
  const { store, identity } = running.parts;
  rootCa = identity.rootCa;
  await store.users.add({
    id: newId(1),
    username: 'viewer',
    displayName: '',
    email: '',
    role: 'viewer',
    enabled: true,
    passwordHash: '',
    scope: {},
    createdAt: 1,
    lastLoginAt: 0,
  });
  const { fleet, paths, releases, secrets, trail } = running.parts;
  const hostnames = () => [...fleet.slots()].filter((slot) => fleet.view(slot).active).map((slot) => fleet.hostname(slot));
  publisher = new Publisher({
    paths,
    authority: identity,
    store,
    trail,
    secrets,
    clock: systemClock,
    log: quietLog(),
    hostnames,
    onRelease: (release) => releases.use(release),
  });
  await publisher.start();
  restOf = restParts(running.parts, createConfigPort({ publisher, stage: paths.stage, clock: systemClock, hostnames }));
  rest = await createRestServer(restOf);
  port = await rest.listen('127.0.0.1', 0);
  await rest.listenLocal(join(dataDir, 'run', 'admin.sock'));
}, 60_000);

afterAll(async () => {
  await rest.close();
  await publisher.stop();
  await running.stop();
  rmSync(folder, { recursive: true, force: true });
}, 30_000);

/** A token of the user, as text. */
async function tokenOf(user: string, scopes: readonly string[] = []): Promise<string> {
  const made = await cli([
    'auth',
    'create-token',
    '--user',
    user,
    '--name',
    'test',
    ...scopes.flatMap((scope) => ['--scope', scope]),
    '--json',
  ]);
  return (JSON.parse(made.out) as { token: string }).token;
}

async function asUser(user: string): Promise<Record<string, string>> {
  const file = join(folder, `token-${user}`);
  writeFileSync(file, await tokenOf(user), { mode: 0o600 });
  return { VIGO_SERVER: `https://localhost:${port}`, VIGO_TOKEN_FILE: file };
}

describe('who may', () => {
  test('the local socket is its owner, with mode 0600', async () => {
    expect(statSync(join(dataDir, 'run', 'admin.sock')).mode & 0o777).toBe(0o600);
    const ran = await cli(['auth', 'status', '--json']);
    expect(JSON.parse(ran.out)).toMatchObject({ kind: 'local', role: 'admin', user: expect.stringMatching(/^local:/) });
  });

  test('nobody without a token, and no token beside the socket', async () => {
    const none = await https('GET', '/api/v1/envoys');
    expect([none.status, JSON.parse(none.body)]).toMatchObject([
      401,
      { code: 'UNAUTHENTICATED', type: 'urn:vigo:error:UNAUTHENTICATED', request_id: expect.any(String) },
    ]);
    expect(none.headers).toMatchObject({
      'content-type': expect.stringContaining('application/problem+json'),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    const both = await https('GET', '/api/v1/session', {
      socketPath: join(dataDir, 'run', 'admin.sock'),
      headers: { authorization: `Bearer vgot_${'0'.repeat(16)}_${'0'.repeat(64)}` },
    });
    expect(JSON.parse(both.body)).toMatchObject({ code: 'AMBIGUOUS_AUTH' });
    const wrong = await https('GET', '/api/v1/session', { headers: { authorization: `Bearer vgot_${'0'.repeat(16)}_${'0'.repeat(64)}` } });
    expect(wrong.status).toBe(401);
  });

  test('a viewer reads, and is told which permission is missing for more', async () => {
    const env = await asUser('viewer');
    expect((await cli(['envoys', 'list'], { env })).code).toBe(0);
    const refused = await cli(['tokens', 'create', '--pattern', '*'], { env });
    expect([refused.code, refused.err]).toEqual([6, expect.stringContaining('token.manage')]);
    expect((await cli(['auth', 'create-token', '--name', 'x'], { env })).code).toBe(6);
    const recorded = JSON.parse((await cli(['audit', 'log', '--event', 'access.denied', '--json'])).out) as {
      items: { actor: string; record: object }[];
    };
    expect(recorded.items.find(({ actor }) => actor === 'viewer')?.record).toMatchObject({
      outcome: 'denied',
      data: { permission: 'token.manage', count: 1 },
    });
  });

  test('scopes narrow a token, and a revoked one is dead', async () => {
    const token = await tokenOf('root', ['fleet.read']);
    const headers = { authorization: `Bearer ${token}` };
    expect((await https('GET', '/api/v1/fleet/summary', { headers })).status).toBe(200);
    expect((await https('GET', '/api/v1/audit', { headers })).status).toBe(403);
    expect((await cli(['auth', 'revoke-token', token.split('_')[1]!])).code).toBe(0);
    expect((await https('GET', '/api/v1/fleet/summary', { headers })).status).toBe(401);
  });

  test('a token file that others can read is refused', async () => {
    const env = await asUser('viewer');
    chmodSync(env['VIGO_TOKEN_FILE']!, 0o644);
    const ran = await cli(['envoys', 'list'], { env });
    expect([ran.code, ran.err]).toEqual([6, expect.stringContaining('KEY_FILE_PERMISSIONS')]);
  });

  test('another CA is not believed', async () => {
    const ran = await cli(['version', '--json'], { env: { VIGO_SERVER: `https://localhost:${port}`, VIGO_DATA_DIR: '/nowhere' } });
    expect(JSON.parse(ran.out)).toMatchObject({ server: null });
  });
});

describe('the form of answers', () => {
  const local = () => ({ socketPath: join(dataDir, 'run', 'admin.sock') });
  test.each<[string, string, string | undefined, number, object]>([
    ['GET', '/api/v1/envoys?stat=x', undefined, 400, { code: 'BAD_REQUEST', detail: expect.stringContaining('did you mean "state"?') }],
    [
      'POST',
      '/api/v1/envoys/push',
      '{"tarket":"x"}',
      400,
      { findings: [{ path: 'body.tarket', rule: 'unknown_field', message: expect.stringContaining('target') }] },
    ],
    ['POST', '/api/v1/envoys/push', '{"__proto__":{"target":"x"}}', 400, { code: 'BAD_REQUEST' }],
    ['POST', '/api/v1/envoys/push', '{broken', 400, { code: 'BAD_REQUEST' }],
    ['POST', '/api/v1/envoys/push', `{"target":"${'x'.repeat(3_000_000)}"}`, 413, { code: 'TOO_LARGE' }],
    ['POST', '/api/v1/envoys/push', `${'{"a":'.repeat(60)}1${'}'.repeat(60)}`, 400, { code: 'BAD_REQUEST' }],
    ['POST', '/api/v1/tokens', '{"pattern":"a"}', 428, { code: 'PRECONDITION_REQUIRED' }],
    ['DELETE', '/api/v1/tokens/x', undefined, 428, { code: 'PRECONDITION_REQUIRED' }],
    ['GET', '/api/v1/nothing', undefined, 404, { code: 'NOT_FOUND' }],
    ['GET', '/api/v1/runs?cursor=abc.def', undefined, 410, { code: 'CURSOR_EXPIRED' }],
    ['GET', '/api/v1/envoys?target=-a', undefined, 400, { code: 'TARGET_SYNTAX' }],
  ])('%s %s', async (method, path, body, status, expected) => {
    const reply = await https(method, path, { ...local(), ...(body === undefined ? {} : { body }) });
    expect([reply.status, JSON.parse(reply.body)]).toMatchObject([status, expected]);
  });

  test('an unexpected failure says nothing of its text', () => {
    const { body } = problemOf(toCoded(new TypeError('a bug with a secret text')), { path: '/x', requestId: 'r' });
    expect(body).toMatchObject({ code: 'INTERNAL', status: 500, request_id: 'r' });
    expect(JSON.stringify(body)).not.toContain('secret text');
  });

  test('one Idempotency-Key makes tokens once', async () => {
    const ask = (body: string) => https('POST', '/api/v1/tokens', { ...local(), body, headers: { 'idempotency-key': 'k'.repeat(20) } });
    const first = await ask('{"pattern":"once-*"}');
    const again = await ask('{"pattern":"once-*"}');
    expect([first.status, again.status, again.body]).toEqual([201, 201, first.body]);
    expect(again.headers['idempotency-replayed']).toBe('true');
    expect((await ask('{"pattern":"other-*"}')).status).toBe(409);
  });

  test('ETag: 304 when equal, 412 when changed', async () => {
    const made = JSON.parse((await cli(['tokens', 'create', '--pattern', 'etag-*', '--json'])).out) as { items: { id: string }[] };
    const path = `/api/v1/tokens/${made.items[0]!.id}`;
    const etag = String((await https('GET', path, local())).headers['etag']);
    expect((await https('GET', path, { ...local(), headers: { 'if-none-match': etag } })).status).toBe(304);
    expect((await https('DELETE', path, { ...local(), headers: { 'if-match': '"other"' } })).status).toBe(412);
    expect((await https('DELETE', path, { ...local(), headers: { 'if-match': etag } })).status).toBe(200);
  });

  test('public pages need nobody', async () => {
    expect((await https('GET', '/healthz')).body).toBe('ok\n');
    expect(JSON.parse((await https('GET', '/readyz')).body)).toEqual({ ready: false, reasons: ['no release is live'] });
    expect((await https('GET', '/bootstrap/ca.pem')).body).toBe(rootCa);
    const api = JSON.parse((await https('GET', '/api/v1/openapi.json')).body) as { paths: Record<string, object> };
    expect(Object.values(api.paths).flatMap((path) => Object.keys(path)).length).toBe(ROUTES.length);
    expect((await https('GET', '/metrics')).status).toBe(401);
  });

  test('every contract has one handler', () => {
    const names = handlersOf(restOf).map(({ contract }) => contract.name);
    expect(names.sort()).toEqual(ROUTES.map(({ name }) => name).sort());
  });
});

function enrolAs(hostname: string, token: string | undefined) {
  const configDir = join(folder, `envoy-${hostname}`);
  return register({
    apiAddr: `https://localhost:${port}`,
    token,
    caPin: running.parts.identity.rootPin,
    hostname,
    configDir,
    force: false,
    version: 'test',
    clock: systemClock,
    signal: new AbortController().signal,
    waitMs: 0,
    confirmPin: () => Promise.resolve(false),
    progress: () => {},
  });
}

describe('a fleet of one', () => {
  test('token, enrolment, list, show, revoke', async () => {
    const made = await cli(['tokens', 'create', '--pattern', 'web-*', '--label', 'rack=a1', '--json']);
    const { token } = (JSON.parse(made.out) as { items: { token: string }[] }).items[0]!;
    await enrolAs('web-01.example.com', token);
    await expect(enrolAs('web-02.example.com', token)).rejects.toMatchObject({ code: 'TOKEN_ALREADY_SPENT' });
    expect((await cli(['tokens', 'list', '--state', 'spent'])).out).toContain('web-01.example.com');
    const listed = await cli(['envoys', 'list', 'web-*', '--label', 'rack=a1', '--output', 'csv']);
    expect(listed.out.split('\r\n')[1]).toContain('web-01.example.com,no_data');
    const shown = JSON.parse((await cli(['envoys', 'show', 'web-01', '--json'])).out) as object;
    expect(shown).toMatchObject({ hostname: 'web-01.example.com', status: 'active', labels: { rack: 'a1' }, runs: [] });
    expect(JSON.parse((await cli(['envoys', 'push', 'web-01.example.com', '--json'])).out)).toMatchObject({ queued: 1 });
    expect((await cli(['envoys', 'show', 'web-9'])).code).toBe(7);
    expect((await cli(['envoys', 'revoke', 'web-01', '--reason', 'sold'])).code).toBe(2);
    expect((await cli(['envoys', 'revoke', 'web-01', '--reason', 'sold', '--yes'])).code).toBe(0);
    expect(JSON.parse((await cli(['envoys', 'show', 'web-01', '--json'])).out)).toMatchObject({ status: 'revoked', reason: 'sold' });
  });

  test('an enrolment without a token waits, is approved or rejected', async () => {
    await expect(enrolAs('wait-1', undefined)).rejects.toMatchObject({ code: 'ENROLLMENT_PENDING' });
    await expect(enrolAs('wait-2', undefined)).rejects.toMatchObject({ code: 'ENROLLMENT_PENDING' });
    expect((await cli(['envoys', 'pending'])).out).toMatch(/wait-1[\s\S]*wait-2/);
    expect((await cli(['envoys', 'approve', 'wait-1', '--yes'])).code).toBe(0);
    expect((await cli(['envoys', 'reject', 'wait-2', '--reason', 'unknown'])).code).toBe(0);
    expect((await cli(['envoys', 'pending', '--json'])).out).toContain('"items": []');
    expect(JSON.parse((await cli(['envoys', 'show', 'wait-1', '--json'])).out)).toMatchObject({ status: 'active' });
  });
});

/** A report as an envoy sends it. */
function reportOf(runId: string, outcomes: readonly object[]): Buffer {
  const at = Date.now();
  const head = {
    run_id: runId,
    body_hash: 'a'.repeat(64),
    release: 0,
    owner_epoch: 1,
    epoch: 1,
    seq: 1,
    started_at: at - 900,
    ended_at: at,
    mode: 'enforce',
    flags: [],
  };
  return Buffer.from(JSON.stringify({ ...head, outcomes }));
}

describe('runs', () => {
  test('are listed, shown with escaped output, and streamed', async () => {
    const { fleet, intake } = running.parts;
    const slot = fleet.slotOfHostname('wait-1');
    const { id } = fleet.view(slot);
    const outcome = { module: 'base', name: 'motd', type: 'file', duration_ms: 3, triggered: false, would: false, changes: [] };
    const seen: string[] = [];
    const stop = new AbortController();
    const watching = (async () => {
      const client = createApiClient(connectionOf({}, { HOME: home, VIGO_DATA_DIR: dataDir }), { signal: stop.signal });
      for await (const run of client.events(streamRuns)) {
        seen.push(run.id);
        stop.abort();
      }
    })();
    await eventually(async () => {
      const runId = newId(Date.now());
      const report = reportOf(runId, [
        { ...outcome, action: 'updated', output: 'a\u001b[2Jb' },
        { ...outcome, name: 'x', action: 'error', message: 'no' },
      ]);
      expect(await intake.take(slot, id, [{ subject: id, run_id: runId, report }])).toEqual(['accepted']);
      expect(seen.length).toBeGreaterThan(0);
    });
    await expect(watching).rejects.toMatchObject({ code: 'UNREACHABLE' });
    const listed = await cli(['runs', 'list', '--envoy', 'wait-1', '--failed', '--since', '1h', '--output', 'csv']);
    expect(listed.out).toContain(seen[0]);
    const shown = await cli(['runs', 'show', seen[0]!]);
    expect(shown.out).toMatch(/base\s+motd\s+file\s+updated/);
    expect(shown.out).toContain('a\\x1b[2Jb');
    expect((await cli(['runs', 'show', seen[0]!, '--failed-only'])).out).not.toMatch(/motd\s+file/);
    const paged = JSON.parse((await cli(['runs', 'list', '--limit', '1', '--json'])).out) as { items: object[] };
    expect(paged.items.length).toBe(1);
  });
});

describe('configuration before the first release', () => {
  test('the stage is validated by the server, and the same tree without one', async () => {
    const asked = await cli(['config', 'validate']);
    // the example names secrets that nobody has set here
    expect([asked.code, asked.err.split('\n').filter((line) => line !== '' && !line.includes('SEC-1'))]).toEqual([1, []]);
    const here = await cli(['config', 'validate', EXAMPLE, '--json'], { env: { VIGO_SERVER: 'https://127.0.0.1:1' } });
    expect(JSON.parse(here.out)).toMatchObject({ errors: 0 });
  });

  test('tree and trace read the stage, and say that nothing is live', async () => {
    const tree = await cli(['config', 'tree', '--stage']);
    expect([tree.code, tree.out]).toEqual([0, expect.stringContaining('web/')]);
    expect((await cli(['config', 'tree'])).err).toContain('NOT_READY');
    const trace = await cli(['config', 'trace', 'web7.example.com', '--stage']);
    expect([trace.code, trace.out]).toEqual([
      0,
      expect.stringMatching(/Path inheritance\n[\s\S]*Module inheritance\n[\s\S]*Waiver inheritance\n/),
    ]);
    expect(JSON.parse((await cli(['config', 'trace', 'motd', '--stage', '--json'])).out)).toMatchObject({
      host: null,
      module: 'motd',
      entries: expect.any(Array),
    });
  });
});

describe('secrets', () => {
  test('go in by standard input, come out only on a terminal, and are recorded', async () => {
    const value = 'correct horse battery';
    expect((await cli(['secrets', 'set', 'db/password'], { stdin: `${value}\n` })).code).toBe(0);
    expect((await cli(['secrets', 'list'])).out).toContain('db/password');
    expect(JSON.parse((await cli(['secrets', 'get-meta', 'db/password', '--json'])).out)).toMatchObject({
      path: 'db/password',
      used_by: [],
    });
    expect((await cli(['secrets', 'reveal', 'db/password', '--reason', 'test'])).code).toBe(2);
    const shown = await cli(['secrets', 'reveal', 'db/password', '--reason', 'test'], { terminal: true });
    expect(shown.out).toBe(`${value}\n`);
    const log = await cli(['audit', 'log', '--event', 'secret.', '--json']);
    expect(log.out).toContain('secret.revealed');
    expect(log.out).not.toContain(value);
    expect((await cli(['secrets', 'delete', 'db/password', '--yes'])).code).toBe(0);
    expect((await cli(['secrets', 'get-meta', 'db/password'])).code).toBe(7);
    expect((await cli(['secrets', 'set', '../etc/passwd'], { stdin: 'x' })).code).toBe(2);
  });
});

describe('publishing', () => {
  test('is refused while secrets are missing, then goes live, is shown, and rolled back', async () => {
    const refused = await cli(['config', 'publish', '--message', 'first']);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('SEC-1')]);
    for (const name of ['alice', 'bob']) expect((await cli(['secrets', 'set', `os-users/${name}`, '--generate', '24'])).code).toBe(0);
    const dry = await cli(['config', 'publish', '--dry-run']);
    expect([dry.code, dry.out]).toEqual([0, expect.stringContaining('dry run')]);
    const live = await cli(['config', 'publish', '--message', 'first']);
    expect([live.code, live.out]).toEqual([0, expect.stringContaining('release 1 is live')]);
    expect((await cli(['config', 'publish'])).out).toContain('nothing to publish');
    expect((await cli(['config', 'status'])).code).toBe(0);
    expect(JSON.parse((await https('GET', '/readyz')).body)).toEqual({ ready: true, reasons: [] });
    writeFileSync(join(dataDir, 'stacks', 'more.vgo'), 'match: "more*.example.com"\n');
    expect((await cli(['config', 'publish', '--yes'])).out).toContain('release 2 is live');
    expect((await cli(['config', 'history'])).out).toMatch(/\*2[\s\S]* 1/);
    expect((await cli(['config', 'show', '1'])).out).toContain('manifest');
    expect((await cli(['config', 'rollback', '--yes'])).out).toContain('release 3 is live');
    expect((await cli(['config', 'show', '9'])).code).toBe(7);
    expect((await cli(['secrets', 'refs', 'os-users/alice'])).out).toMatch(/os-users\/alice +\S+\.vgo:\d+/);
    expect((await cli(['config', 'tree'])).out).toContain('*.example.com');
  });

  test('a trace predicts conditions from the last traits', async () => {
    const made = await cli(['tokens', 'create', '--pattern', 'web*', '--json']);
    await enrolAs('web9.example.com', (JSON.parse(made.out) as { items: { token: string }[] }).items[0]!.token);
    const { fleet, store } = running.parts;
    const { id } = fleet.view(fleet.slotOfHostname('web9.example.com'));
    const traits = { os: { family: 'debian' }, memory: { total_mb: 8192 } };
    await store.traits.mergeBatch([{ envoyId: id, hash: traitsHash(traits), full: true, set: traits, removed: [] }]);
    const trace = JSON.parse((await cli(['config', 'trace', 'web9.example.com', '--json'])).out) as {
      conditions: { source: string; predicted?: boolean }[];
    };
    expect(trace.conditions.find(({ source }) => source === 'has_enough_ram(4096)')).toMatchObject({ predicted: true });
    expect((await cli(['envoys', 'traits', 'web9*', 'os.family'])).out).toContain('debian');
    expect((await cli(['envoys', 'list', 'role:webserver', '--json'])).out).toContain('web9.example.com');
    const policy = await https('GET', `/api/v1/envoys/${id}/policy`, { socketPath: join(dataDir, 'run', 'admin.sock') });
    expect(JSON.parse(policy.body)).toMatchObject({ release: 3, body: { match: expect.stringContaining('web*.example.com') } });
    expect(policy.body).not.toContain('secret:');
  });
});

describe('audit and health', () => {
  test('the log verifies, and a record is proven against the checkpoint', async () => {
    expect((await cli(['audit', 'verify'])).out).toMatch(/\d+ records hold/);
    const proof = await cli(['audit', 'proof', '0']);
    expect([proof.code, proof.out]).toEqual([0, expect.stringContaining('holds')]);
    expect((await cli(['audit', 'checkpoint'])).out).toMatch(/^vigo\//);
    expect((await cli(['audit', 'proof', '99999'])).code).toBe(7);
  });

  test('doctor names what is not as it should be', async () => {
    const ran = await cli(['doctor']);
    expect([ran.code, ran.out]).toEqual([0, expect.stringMatching(/^ok +release: release 3/m)]);
  });
});

describe('the command line', () => {
  test.each<[readonly string[], number, string]>([
    [[], 2, 'a command is needed'],
    [['envoy', 'list'], 2, 'did you mean "envoys"?'],
    [['envoys', 'lits'], 2, 'did you mean "list"?'],
    [['envoys'], 2, 'needs one of'],
    [['envoys', 'list', '--stat', 'x'], 2, '--state'],
    [['tokens', 'create'], 2, '--pattern is needed'],
    [['tokens', 'create', '--pattern', 'a', '--ttl', 'soon'], 2, 'is not a duration'],
    [['envoys', 'show'], 2, '<envoy> is missing'],
    [['envoys', 'show', 'a', 'b'], 2, 'unexpected argument'],
    [['runs', 'list', '--server', 'http://x'], 2, 'https only'],
    [['fleet', '--server', 'https://127.0.0.1:1'], 2, 'unknown command'],
    [['envoys', 'list', '--server', 'https://127.0.0.1:1'], 5, 'no connection'],
  ])('%j exits with %i', async (argv, code, text) => {
    const ran = await cli(argv);
    expect([ran.code, ran.err]).toEqual([code, expect.stringContaining(text)]);
    expect(ran.out).toBe('');
  });

  test.each(['bash', 'zsh', 'fish'])('completion for %s names the nouns', async (shell) => {
    expect((await cli(['completion', shell])).out).toContain('envoys');
  });

  test('help names every flag of a command', async () => {
    const { out, code } = await cli(['tokens', 'create', '--help']);
    expect([code, out]).toEqual([0, expect.stringContaining('--pattern <glob>')]);
    expect((await cli(['--help'])).out).toContain('envoys revoke');
  });
});
