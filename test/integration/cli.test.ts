/** A fleet run with vigocli: tokens, enrolments, runs, secrets, releases, audit log. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createApiClient } from '../../cli/api-client.ts';
import { connectionOf } from '../../cli/settings.ts';
import { streamRuns } from '../../core/api/runs.ts';
import { getVersion } from '../../core/api/server.ts';
import { newId } from '../../core/base/ids.ts';
import { traitsHash } from '../../core/traits/delta.ts';
import { eventually } from '../harness/eventually.ts';
import {
  cli,
  dataDir,
  EXAMPLE,
  enrolAs,
  folder,
  home,
  https,
  port,
  reportOf,
  running,
  startSite,
  stopSite,
  tokenOf,
} from '../harness/rest-site.ts';

beforeAll(() => startSite(), 60_000);
afterAll(stopSite, 30_000);

describe('a fleet of one', () => {
  test('token, enrolment, list, show, revoke', async () => {
    const made = await cli(['tokens', 'create', '--pattern', 'web-*', '--label', 'rack=a1', '--json']);
    const { token } = (JSON.parse(made.out) as { items: { token: string }[] }).items[0]!;
    await enrolAs('web-01.example.com', token);
    await expect(enrolAs('web-02.example.com', token)).rejects.toMatchObject({ code: 'TOKEN_ALREADY_SPENT' });
    expect((await cli(['tokens', 'list', '--state', 'spent'])).out).toContain('web-01.example.com');
    const listed = await cli(['envoys', 'list', 'web-*', '--label', 'rack=a1', '--output', 'csv']);
    expect(listed.out.split('\r\n')[1]).toContain('web-01.example.com,main,no_data');
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

test('a stream ends when its token is revoked', async () => {
  const token = await tokenOf('root', ['fleet.read']);
  const file = join(folder, 'stream-token');
  writeFileSync(file, token, { mode: 0o600 });
  const connection = connectionOf(
    {},
    { HOME: home, VIGO_DATA_DIR: dataDir, VIGO_SERVER: `https://localhost:${port}`, VIGO_TOKEN_FILE: file },
  );
  const client = createApiClient(connection, { signal: new AbortController().signal });
  const watching = client.events(streamRuns)[Symbol.asyncIterator]().next();
  await cli(['auth', 'revoke-token', token.split('_')[1]!]);
  await expect(watching).rejects.toMatchObject({ code: expect.stringMatching(/UNREACHABLE|UNAUTHENTICATED/) });
  client.close();
}, 15_000);

test('a data directory without its socket is named when nothing else answers', async () => {
  const connection = connectionOf({ dataDir: join(folder, 'nowhere') }, { HOME: home });
  const closed = { ...connection, target: { kind: 'https' as const, url: new URL('https://127.0.0.1:1') } };
  const client = createApiClient(closed, { signal: new AbortController().signal });
  await expect(client.call(getVersion)).rejects.toMatchObject({
    code: 'UNREACHABLE',
    hint: expect.stringContaining(join(folder, 'nowhere', 'run', 'admin.sock')),
  });
  client.close();
  expect(connectionOf({ dataDir: join(folder, 'nowhere'), server: 'https://a:1' }, { HOME: home }).missedSocket).toBeUndefined();
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
    [['envoys', 'show', 'a', 'b'], 2, 'more arguments'],
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
