/** An enrolled envoy against the others: reports and traits that would spoil a shared batch, a list or a column are refused alone. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { systemClock } from '../../core/base/clock.ts';
import { signFor } from '../../core/crypto/domain.ts';
import { codecs } from '../../proto/load.ts';
import { Flusher } from '../../server/fleet/flusher.ts';
import { type TestEnvoy, TestSite, testRelease } from '../harness/test-site.ts';

const site = new TestSite();
let bad: TestEnvoy;
let good: TestEnvoy;
let next = Date.now();

beforeAll(async () => {
  await site.init();
  await site.start();
  await site.server.parts.releases.use(testRelease(1, {}));
  bad = await site.enroll('bad.example.com');
  good = await site.enroll('good.example.com');
}, 30_000);
afterAll(() => site.close());

const honest = {
  run_id: 'run-1',
  body_hash: '0',
  release: 1,
  owner_epoch: 1,
  epoch: 1,
  seq: 1,
  started_at: Date.now(),
  ended_at: Date.now(),
  mode: 'enforce',
  flags: [],
  outcomes: [],
};

async function send(envoy: TestEnvoy, report: Record<string, unknown>): Promise<readonly string[]> {
  const payload = codecs.reportResultsRequest.encode({
    header: site.header(envoy, ++next),
    reports: [{ subject: envoy.identity.envoyId, run_id: String(report['run_id']), report: Buffer.from(JSON.stringify(report)) }],
  });
  const request = codecs.signedRequest.encode({ payload, signature: signFor('reportResults', envoy.identity.signingKey, payload) });
  const reply = await site.raw(envoy, request, { method: 'reportResults' });
  return codecs.reportResultsReply.decode(reply.message).results as string[];
}

test.each<[string, Record<string, unknown>]>([
  ['a number of a run that no index takes', { run_id: 'x'.repeat(100_000) }],
  ['an empty number of a run', { run_id: '' }],
  ['a NUL byte, which PostgreSQL refuses with the whole batch', { run_id: 'a\0b' }],
  ['a hash with a NUL byte', { body_hash: '\0' }],
  ['a hash of a megabyte', { body_hash: 'a'.repeat(1_000_000) }],
  ['a time behind the end of all dates', { started_at: 1e300 }],
  ['an end behind the end of all dates', { ended_at: 8.64e15 + 1 }],
  ['a time before 1970', { started_at: -1 }],
  ['a release above 2^53', { release: 2 ** 60 }],
  ['a policy hash that is none', { policy_hash: 'zz' }],
  ['an epoch that a column would cut', { secrets_epoch: 2 ** 40 }],
])('a report with %s is refused, that of another envoy in the same batch is taken', async (_name, change) => {
  const id = `good-${++next}`;
  const [spoilt, kept] = await Promise.all([
    send(bad, { ...honest, run_id: `bad-${next}`, ...change }),
    send(good, { ...honest, run_id: id }),
  ]);
  expect([spoilt, kept]).toEqual([['refused'], ['accepted']]);
  for (const { startedAt, endedAt } of await site.server.parts.store.runs.list({}, 100))
    expect(() => [new Date(startedAt).toISOString(), new Date(endedAt).toISOString()]).not.toThrow();
});

test('names of collectors that a database refuses are left out, the rest of the batch is written', async () => {
  const { store, fleet } = site.server.parts;
  const written: string[][] = [];
  const spied = {
    ...store,
    traits: {
      ...store.traits,
      mergeBatch: (batch: readonly { set: object }[]) => {
        written.push(...batch.map(({ set }) => Object.keys(set)));
        return Promise.resolve([]);
      },
    },
  } as typeof store;
  const flusher = new Flusher({
    fleet,
    store: spied,
    clock: systemClock,
    log: site.log,
    intervalMs: 60_000,
    batch: 10,
    measured: () => {},
  });
  const set = Buffer.from(JSON.stringify({ os: 1, 'a\0b': 1, 'a\nb': 1, [`x${'x'.repeat(300)}`]: 1, '': 1, ['\ud800']: 1 }));
  flusher.addTraits(0, { baseHash: '', hash: 'a'.repeat(64), full: true, set, removed: [] });
  await flusher.flush();
  // half a surrogate pair comes in as U+FFFD, which every database keeps
  expect(written).toEqual([['os', '\ufffd']]);
});
