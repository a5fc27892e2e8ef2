/** What an enrolled machine may say of itself: it is stored and shown, steers no terminal, spreadsheet, log or metric, and harms nobody else. */
import { connect } from 'node:http2';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type AgentIdentity, openIdentity } from '../../../agent/enroll/identity.ts';
import { trimmed } from '../../../agent/result-sender.ts';
import { idBytes, newId } from '../../../core/base/ids.ts';
import { createLogger } from '../../../core/base/log.ts';
import { Redactor } from '../../../core/base/redaction.ts';
import { signFor } from '../../../core/crypto/domain.ts';
import { sha256Hex } from '../../../core/policy/bundle.ts';
import type { RunReport } from '../../../core/policy/outcome.ts';
import { type AgentMethod, codecs } from '../../../proto/load.ts';
import { eventually } from '../../harness/eventually.ts';
import { cli, dataDir, enrolAs, folder, https, reportOf, running, startSite, stopSite } from '../../harness/rest-site.ts';
import { callOn, type RawReply } from '../../harness/test-site.ts';

const ESC = '\u001b';
const EVIL = `${ESC}[2J${ESC}]0;owned\u0007<script>alert(1)</script>\r\n{"level":"error","msg":"forged"}\u202e\u0000`;
const FORMULA = '=HYPERLINK("http://evil/","x")';
const STEERS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e]/;

let log = '';
const envoys = new Map<string, AgentIdentity>();
let sequence = Date.now();

beforeAll(async () => {
  await startSite({
    settings: 'database: { flush_interval: 1s }\n',
    log: createLogger({
      level: 'trace',
      format: 'json',
      redactor: new Redactor(),
      write: (line) => {
        log += line;
      },
    }),
  });
  for (const hostname of ['bad.example.com', 'good.example.com']) {
    const made = await cli(['tokens', 'create', '--pattern', hostname, '--json']);
    await enrolAs(hostname, (JSON.parse(made.out) as { items: { token: string }[] }).items[0]!.token);
    const { fleetId, siteId } = running.parts.identity;
    envoys.set(hostname, openIdentity(join(folder, `envoy-${hostname}`), { fleetId, siteId, hostname }));
  }
}, 60_000);
afterAll(stopSite, 30_000);

async function call(hostname: string, method: AgentMethod, encode: (header: object) => Buffer): Promise<RawReply> {
  const identity = envoys.get(hostname)!;
  const header = {
    fleet_id: idBytes(identity.fleetId),
    envoy_id: idBytes(identity.envoyId),
    audience: identity.siteId,
    highest_epoch: 0,
    owner_epoch: 1,
    sequence: ++sequence,
    sent_at_ms: Date.now(),
  };
  const payload = encode(header);
  const request = codecs.signedRequest.encode({ payload, signature: signFor(method, identity.signingKey, payload) });
  const session = connect(`https://localhost:${running.rpcPort}`, {
    ca: identity.caBundle,
    cert: identity.tls.certificateChain,
    key: identity.tls.privateKey,
    minVersion: 'TLSv1.3',
  });
  try {
    return await callOn(session, request, method, {});
  } finally {
    session.destroy();
  }
}

let traitSets = 0;
const sendTraits = (hostname: string, set: Uint8Array, more: object = {}) =>
  call(hostname, 'checkIn', (header) =>
    codecs.checkInRequest.encode({
      header,
      protocol: 1,
      mode: 'enforce',
      traits: { base_hash: Buffer.alloc(0), hash: Buffer.from(sha256Hex(String(++traitSets)), 'hex'), full: true, set, removed: [] },
      ...more,
    } as never),
  );
const sendReports = (hostname: string, reports: readonly { run_id: string; report: Uint8Array; subject?: string }[]) =>
  call(hostname, 'reportResults', (header) =>
    codecs.reportResultsRequest.encode({
      header,
      reports: reports.map((one) => ({ subject: envoys.get(hostname)!.envoyId, ...one })),
      heartbeat_hash: Buffer.alloc(0),
    } as never),
  );
const resultsOf = (reply: RawReply) => codecs.reportResultsReply.decode(reply.message).results;
const traitsOf = async (hostname: string) =>
  JSON.parse((await cli(['envoys', 'traits', hostname, '--json'])).out) as Record<string, unknown>;
const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const outcome = { module: 'm', name: 'r', type: 'file', action: 'updated', duration_ms: 1, triggered: false, would: false, changes: [] };

/** The other envoy is served as if nothing were, and what it says arrives. */
async function othersAreServed(): Promise<void> {
  const mark = newId(Date.now());
  expect((await sendTraits('good.example.com', Buffer.from(JSON.stringify({ os: { mark } })))).grpcStatus).toBe(0);
  await eventually(async () => expect(await traitsOf('good.example.com')).toEqual({ os: { mark } }), { timeoutMs: 6_000 });
  const run = newId(Date.now());
  expect(resultsOf(await sendReports('good.example.com', [{ run_id: run, report: reportOf(run, [outcome]) }]))).toEqual(['accepted']);
  const listed = await cli(['runs', 'list', '--json']);
  expect([listed.code, listed.err]).toEqual([0, '']);
  expect(listed.out).toContain(run);
}

describe('traits', () => {
  test.each([
    ['keys of the language itself', '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"os":1}'],
    ['deep', `{"deep":${nested(50_000)}}`],
    ['deep objects', `{"deep":${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}}`],
    ['no JSON', '{"a":'],
    ['a list', '[1,2]'],
    ['half a surrogate', '{"os":"\\ud800"}'],
    ['a huge name', `{"${'n'.repeat(100_000)}":1}`],
    ['many collectors', `{${Array.from({ length: 20_000 }, (_, i) => `"c${i}":1`).join()}}`],
    ['escapes and markup', JSON.stringify({ os: EVIL, [EVIL]: EVIL, formula: FORMULA })],
  ])(
    '%s: whatever becomes of it, everybody else is served',
    async (_, text) => {
      await sendTraits('bad.example.com', Buffer.from(text));
      await othersAreServed();
      for (const argv of [
        ['envoys', 'traits', 'bad.example.com'],
        ['envoys', 'traits', 'bad.example.com', '--json'],
        ['envoys', 'show', 'bad.example.com', '--traits'],
      ]) {
        const shown = await cli(argv);
        expect([shown.code, shown.err, shown.out.match(STEERS)]).toEqual([0, '', null]);
      }
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    },
    30_000,
  );

  test('no UTF-8 is stored as text', async () => {
    await sendTraits('bad.example.com', Buffer.concat([Buffer.from('{"os":"'), Buffer.from([0xff, 0xc0, 0x80]), Buffer.from('"}')]));
    await othersAreServed();
  });

  test('more than the limit of traits is refused by name, and what was known stays', async () => {
    await sendTraits('bad.example.com', Buffer.from('{"os":"before"}'));
    await eventually(async () => expect(await traitsOf('bad.example.com')).toEqual({ os: 'before' }), { timeoutMs: 6_000 });
    const reply = await sendTraits('bad.example.com', Buffer.from(JSON.stringify({ os: 'x'.repeat(2 * 1024 * 1024) })));
    expect(reply.code).toBe('TOO_LARGE');
    await othersAreServed();
    expect(await traitsOf('bad.example.com')).toEqual({ os: 'before' });
  });

  test('fifty megabytes are refused before anybody looks at them', async () => {
    const reply = await sendTraits('bad.example.com', Buffer.alloc(50 * 1024 * 1024, 'x')).catch(() => undefined);
    // the transport may also cut the connection while the rest is under way
    if (reply !== undefined) expect(reply.grpcStatus).toBe(8);
    await othersAreServed();
  }, 30_000);

  test('cells of a spreadsheet are no formulas, columns of a table no escapes', async () => {
    await sendTraits('bad.example.com', Buffer.from(JSON.stringify({ os: { a: FORMULA, b: EVIL, c: '@SUM(1)', d: '-1+1' } })));
    await othersAreServed();
    const csv = (await cli(['envoys', 'traits', 'bad.example.com', 'os.a', 'os.c', 'os.d', '--output', 'csv'])).out;
    expect(csv).toContain(`"'=HYPERLINK(""http://evil/"",""x"")"`);
    expect(csv).toContain(",'@SUM(1),");
    expect(csv).toContain(",'-1+1,");
    const table = (await cli(['envoys', 'traits', 'bad.example.com', 'os.b'])).out;
    expect(table).not.toMatch(STEERS);
    expect(table).toContain('\\x1b[2J');
  });
});

describe('reports', () => {
  const report = (more: object, run_id = newId(Date.now())) => ({
    run_id,
    report: Buffer.from(JSON.stringify({ ...(JSON.parse(reportOf(run_id, [outcome]).toString()) as object), ...more })),
  });

  test.each<[string, object]>([
    ['times beyond the calendar', { started_at: 1e300, ended_at: 1e300 }],
    ['times below it', { started_at: -1e300, ended_at: -5 }],
    ['an unknown mode', { mode: 'pwn' }],
    ['an unknown action', { outcomes: [{ ...outcome, action: 'pwned' }] }],
    ['a negative release', { release: -1 }],
    ['a release above 2^53', { release: 2 ** 60 }],
    ['unknown flags', { flags: ['<b>'] }],
    ['messages above the limit', { outcomes: [{ ...outcome, message: 'x'.repeat(9000) }] }],
    ['half a surrogate and NUL', { outcomes: [{ ...outcome, name: '\ud800\u0000', message: '\udfff' }] }],
    ['long names', { outcomes: [{ ...outcome, name: 'n'.repeat(300_000), module: 'm'.repeat(300_000) }] }],
    ['keys of the language itself', JSON.parse('{"__proto__":{"polluted":1},"outcomes":[{"__proto__":1,"constructor":2}]}') as object],
    ['a policy hash that is none', { policy_hash: EVIL }],
    ['a body hash that is none', { body_hash: EVIL }],
    [
      'escapes, markup and formulas everywhere',
      {
        outcomes: [
          {
            ...outcome,
            module: EVIL,
            name: FORMULA,
            type: EVIL,
            reason: EVIL,
            message: EVIL,
            output: EVIL,
            changes: [{ attribute: EVIL, from: EVIL, to: { [EVIL]: EVIL } }],
          },
        ],
        bundle_rejected: EVIL,
      },
    ],
  ])('%s: whatever becomes of it, everybody else is served', async (_, more) => {
    const one = report(more);
    // together with an honest one of another envoy, so that they share a transaction
    const run = newId(Date.now());
    const [bad, good] = await Promise.all([
      sendReports('bad.example.com', [one]),
      sendReports('good.example.com', [{ run_id: run, report: reportOf(run, [outcome]) }]),
    ]);
    expect(resultsOf(good)).toEqual(['accepted']);
    await othersAreServed();
    if (bad.grpcStatus === 0 && resultsOf(bad)[0] === 'accepted') {
      for (const argv of [
        ['runs', 'show', one.run_id],
        ['runs', 'show', one.run_id, '--json'],
        ['runs', 'list'],
        ['runs', 'list', '--output', 'csv'],
      ]) {
        const shown = await cli(argv);
        expect([shown.code, shown.err, shown.out.replaceAll('\r\n', '\n').match(STEERS)]).toEqual([0, '', null]);
      }
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  test('run ids are bounded and belong to their envoy', async () => {
    const run = newId(Date.now());
    expect(resultsOf(await sendReports('good.example.com', [{ run_id: run, report: reportOf(run, [outcome]) }]))).toEqual(['accepted']);
    // the same id from somebody else is another run, alone and in one transaction
    const mine = newId(Date.now());
    const [a, b] = await Promise.all(
      ['bad.example.com', 'good.example.com'].map((hostname) =>
        sendReports(hostname, [{ run_id: mine, report: reportOf(mine, [outcome]) }]),
      ),
    );
    expect([resultsOf(a!), resultsOf(b!)]).toEqual([['accepted'], ['accepted']]);
    const long = 'r'.repeat(200_000);
    expect(resultsOf(await sendReports('bad.example.com', [{ run_id: long, report: reportOf(long, []) }]))).toEqual(['refused']);
    const about = envoys.get('good.example.com')!.envoyId;
    const lie = newId(Date.now());
    expect(resultsOf(await sendReports('bad.example.com', [{ run_id: lie, report: reportOf(lie, []), subject: about }]))).toEqual([
      'refused',
    ]);
  });

  test('more than a batch, more than the limit', async () => {
    const many = Array.from({ length: 51 }, () => report({}));
    expect((await sendReports('bad.example.com', many)).code).toBe('TOO_LARGE');
    const wide = report({ outcomes: Array.from({ length: 600 }, () => ({ ...outcome, output: 'x'.repeat(8000) })) });
    expect((await sendReports('bad.example.com', [wide])).grpcStatus).toBe(8);
    await othersAreServed();
  });

  test('an honest agent cuts a report that is too large, by bytes and not by letters', () => {
    const big = {
      outcomes: Array.from({ length: 400 }, (_, i) => ({
        ...outcome,
        action: i % 2 === 0 ? 'error' : 'updated',
        output: '€'.repeat(8000),
        message: '€'.repeat(8000),
      })),
    };
    const cut = trimmed(JSON.parse(report(big).report.toString()) as RunReport);
    expect(Buffer.byteLength(JSON.stringify(cut))).toBeLessThanOrEqual(3 * 1024 * 1024);
    expect(cut.flags).toContain('truncated');
    expect(cut.outcomes).toHaveLength(400);
  });
});

test('what check-ins claim is cut, logged on one line and makes no series', async () => {
  for (let i = 0; i < 30; i++) {
    await sendTraits('bad.example.com', Buffer.from('{}'), {
      flags: [`${EVIL}${i}`, 'x'.repeat(10_000)],
      bundle_rejected: EVIL.repeat(50),
      agent_version: EVIL,
      mode: `m${i}`,
    });
  }
  await eventually(() => expect(log).toContain('an envoy reports trouble'));
  for (const line of log.trimEnd().split('\n')) {
    expect(() => JSON.parse(line) as unknown).not.toThrow();
    expect(line.slice(0, -1)).not.toMatch(STEERS);
    expect(line.length).toBeLessThan(20_000);
  }
  expect(log).not.toContain('"msg":"forged"');
  const metrics = (await https('GET', '/metrics', { socketPath: join(dataDir, 'run', 'admin.sock') })).body;
  const series = metrics.split('\n').filter((line) => line.startsWith('vigo_') && !line.includes('_bucket'));
  expect(series.length).toBeGreaterThan(10);
  expect(series.length).toBeLessThan(600);
  for (const line of series) {
    expect(line).not.toContain('script');
    expect(line.length).toBeLessThan(300);
  }
});

test.each(['web\n1', `w${ESC}[2J`, '<b>', '=1+1', 'a'.repeat(200), 'WEB', 'w_1', '../x', '__proto__', 'näm', '-a', 'a..b'])(
  'a host named %j does not enrol',
  async (hostname) => {
    await expect(enrolAs(hostname, undefined)).rejects.toMatchObject({
      code: expect.stringMatching(/^(HOSTNAME_INVALID|TOKEN_UNKNOWN|BAD_REQUEST)$/),
    });
    const listed = await cli(['envoys', 'list', '--output', 'csv']);
    expect(listed.out.split('\r\n').length).toBeLessThanOrEqual(4);
  },
);
