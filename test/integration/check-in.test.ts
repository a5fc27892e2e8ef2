/** The agent's real link against the real accepting threads: certificates, signatures, sequence, bundles and heads. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { checkIn } from '../../agent/check-in.ts';
import { systemClock } from '../../core/base/clock.ts';
import { eventually } from '../harness/eventually.ts';
import { type TestEnvoy, TestSite, testRelease } from '../harness/test-site.ts';

const site = new TestSite();
const onlyWeb = { matches: (hostname: string) => hostname.startsWith('web') };

async function answer(envoy: TestEnvoy, traits = { os: { family: 'debian' } }) {
  const { identity, trust, state, link } = envoy;
  const reply = await checkIn(
    { identity, trust, state, link, clock: systemClock, log: site.log, dryRun: false, headerAgeMs: () => 0 },
    traits,
    AbortSignal.timeout(5_000),
  );
  return reply.kind;
}

beforeAll(async () => {
  await site.init();
  await site.start();
}, 30_000);
afterAll(() => site.close());

describe('check-in', () => {
  test('waits without a release, then bundle, no_change, renew after an untouched publish, bundle after a change', async () => {
    const envoy = await site.enroll('web1.example.com');
    const { releases } = site.server.parts;
    expect(await answer(envoy)).toBe('wait');
    await releases.use(testRelease(1, { note: 'a' }, onlyWeb));
    expect(await answer(envoy)).toBe('bundle');
    expect(envoy.state.policy.held()?.body?.body.vars).toEqual({ note: 'a' });
    expect(await answer(envoy)).toBe('no_change');
    expect(envoy.state.facts.get('provenAt')).toBeGreaterThan(0);
    await releases.use(testRelease(2, { note: 'a' }, onlyWeb));
    expect(await answer(envoy)).toBe('renew');
    expect(await answer(envoy)).toBe('no_change');
    await releases.use(testRelease(3, { note: 'b' }, onlyWeb));
    expect(await answer(envoy)).toBe('bundle');
    expect(envoy.state.policy.held()?.body?.body.vars).toEqual({ note: 'b' });
  });

  test('durations are counted under the answer that was given', async () => {
    await eventually(async () => {
      const text = await site.server.parts.metrics.text();
      for (const status of ['wait', 'bundle', 'no_change', 'renew'])
        expect(text).toMatch(new RegExp(`vigo_checkin_duration_seconds_count\\{[^}]*status="${status}"[^}]*\\} [1-9]`));
    });
  });

  test('says no_policy to a host that no entry matches', async () => {
    const envoy = await site.enroll('db1.example.com');
    expect(await answer(envoy)).toBe('no_policy');
    expect(envoy.state.policy.held()?.body).toBeUndefined();
    expect(envoy.state.facts.get('noPolicy')).toBe('no_match');
  });

  test('a forced push brings the whole bundle once', async () => {
    const envoy = await site.enroll('web2.example.com');
    expect(await answer(envoy)).toBe('bundle');
    expect(await answer(envoy)).toBe('no_change');
    const { fleet } = site.server.parts;
    fleet.forcePush(fleet.slotOf(envoy.identity.envoyId));
    expect(await answer(envoy)).toBe('bundle');
    expect(await answer(envoy)).toBe('no_change');
  });

  test('after a restart the server takes fresh requests, asks for no traits it has, and its sequence numbers grow', async () => {
    const envoy = await site.enroll('web3.example.com');
    expect(await answer(envoy)).toBe('bundle');
    const before = envoy.state.policy.held()!.header.seq;
    await site.stop();
    await site.start();
    await site.server.parts.releases.use(testRelease(4, { note: 'c' }, onlyWeb));
    expect(await answer(envoy)).toBe('bundle');
    expect(envoy.state.policy.held()!.header.seq).toBeGreaterThan(before);
    const { fleet, store } = site.server.parts;
    expect((await store.traits.of(envoy.identity.envoyId as never))?.traits).toEqual({ os: { family: 'debian' } });
    expect(fleet.view(fleet.slotOf(envoy.identity.envoyId)).release).toBe(3);
  });
});
