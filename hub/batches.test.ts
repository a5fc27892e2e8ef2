/** Drains, what is taken back, evacuations and reassignments; whoever dies meanwhile. */
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { systemClock } from '../core/base/clock.ts';
import { SYSTEM } from '../server/audit/record.ts';
import { FAILPOINTS } from '../server/failpoints.ts';
import type { RosterRow } from '../server/store/roster.ts';
import { eventually } from '../test/harness/eventually.ts';
import { judgeHistory, MoveHistory } from '../test/harness/move-history.ts';
import { ModelAgent, type ModelSite, type Moving, openMoving } from '../test/harness/moving-sites.ts';
import { Pace, perSecond } from './pace.ts';
import { rosterTarget } from './roster-target.ts';

jest.setTimeout(60_000);
const open: Moving[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

/** All envoys at the first site. */
async function fleet(envoys: number) {
  const moving = await openMoving(['a', 'b', 'c']);
  open.push(moving);
  const { hub, sites } = moving;
  const history = new MoveHistory();
  const agents: ModelAgent[] = [];
  for (let count = 0; count < envoys; count += 1) agents.push(new ModelAgent(await sites[0]!.enrol(`h${count}`), 'a', history));
  for (const site of sites) await hub.link(site);
  const at = (id: string): ModelSite => sites.find((site) => site.id === id)!;
  const checkIns = async () => {
    for (const agent of agents) await agent.checkIn(at(agent.site), () => hub.lookup(agent.id), false);
  };
  return { hub, sites, agents, at, history, checkIns };
}

test.each([
  ['2%/min', 6000, 2],
  ['2%', 6000, 2],
  ['2pct/min', 6000, 2],
  ['2%/min', 10, 0.1],
  ['10/s', 5, 10],
  ['0.5', 5, 0.5],
])('the rate %s of %i envoys is %d a second', (text, envoys, rate) => {
  expect(perSecond(text, envoys)).toBe(rate);
});

test.each(['', '0', '-1', '5/h', '%', 'x', '1e9'])('"%s" is no rate', (text) => {
  expect(() => perSecond(text, 100)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
});

test('a pace holds its rate', async () => {
  const pace = new Pace(systemClock, Math.random, 100);
  const begun = performance.now();
  for (let count = 0; count < 31; count += 1) await pace.turn(new AbortController().signal);
  expect(performance.now() - begun).toBeGreaterThan(150);
  expect(pace.measured).toBeGreaterThan(30);
  expect(pace.measured).toBeLessThan(200);
});

describe('a target over the roster', () => {
  const row = (hostname: string, site: string, labels: object, status = 'active'): RosterRow => ({
    envoyId: '01980000-0000-7000-8000-000000000009' as RosterRow['envoyId'],
    hostname,
    status,
    ownerSite: site,
    ownerEpoch: 1,
    highestEpoch: 1,
    grant: '',
    identity: JSON.stringify({
      envoy_id: '01980000-0000-7000-8000-000000000009',
      hostname,
      identity_key: 'AA==',
      sealing_key: 'AA==',
      status,
      labels,
      enrolled_at: 1,
      certificate_expires_at: 1,
      platform: '',
      agent_version: '',
      address: '',
      reason: '',
    }),
    heardAt: 0,
  });
  const web = row('web1.dc1', 'dc1', { tier: 'gold' });
  test.each<[string, boolean]>([
    ['web1.dc1', true],
    ['web*', true],
    ['db*', false],
    ['@all', true],
    ['spoke:dc1', true],
    ['spoke:eu*', false],
    ['label:tier', true],
    ['label:tier=g*', true],
    ['label:tier=silver', false],
    ['label:constructor', false],
    ['web*+spoke:eu', false],
    ['db*,web*', true],
    ['@all,-label:tier=gold', false],
    ['01980000-0000-7000-8000-000000000009', true],
  ])('%s: %s', (target, expected) => {
    expect(rosterTarget(target)(web)).toBe(expected);
  });
  test('nobody that is not active', () => {
    expect(rosterTarget('@all')(row('x', 'dc1', {}, 'pending'))).toBe(false);
  });
  test.each(['', '-web*', 'web*,', 'env:prod', 'os.distro=ubuntu'])('"%s" is refused', (target) => {
    expect(() => rosterTarget(target)).toThrow(expect.objectContaining({ code: 'TARGET_SYNTAX' }));
  });
});

describe('a drain', () => {
  test('moves everybody, is drained when the spoke is empty, and gives all of it back', async () => {
    const { hub, agents, history, checkIns } = await fleet(12);
    for (const agent of agents) agent.finishRun();
    const plan = await hub.batches.plan({ kind: 'drain', site: 'a', targets: [] });
    expect(plan.map(({ to }) => to)).toEqual(Array.from({ length: 12 }, () => 'b'));
    expect(await hub.store.moves.unfinished()).toEqual([]);
    const row = await hub.batches.begin({ kind: 'drain', site: 'a', targets: ['b', 'c'] }, SYSTEM, '');
    await expect(hub.batches.begin({ kind: 'drain', site: 'a', targets: [] }, SYSTEM, '')).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
    });
    const seen: number[] = [];
    for await (const { remaining } of hub.batches.watch(row.id, new AbortController().signal)) seen.push(remaining);
    expect(seen.at(-1)).toBe(0);
    expect([...seen].sort((a, b) => b - a)).toEqual(seen);
    expect(hub.site('a')?.state).toBe('drained');
    expect(await hub.batches.progress(row.id)).toMatchObject({ state: 'done', total: 12, moved: 12, remaining: 0, failed: 0 });
    for (let count = 0; count < 3; count += 1) await checkIns();
    await eventually(async () => expect((await hub.batches.progress(row.id)).confirmed).toBe(12));
    await expect(
      hub.batches.begin({ kind: 'reassign', site: '', targets: ['a'], envoys: [agents[0]!.id] }, SYSTEM, ''),
    ).rejects.toMatchObject({ code: 'SPOKE_DRAINING' });
    const back = await hub.batches.undrain('a', true, undefined, SYSTEM, '');
    await eventually(async () => expect(await hub.batches.progress(back!.id)).toMatchObject({ state: 'done', moved: 12 }));
    for (let count = 0; count < 3; count += 1) await checkIns();
    expect(agents.map(({ site }) => site)).toEqual(agents.map(() => 'a'));
    expect(judgeHistory(history.events.filter(({ kind }) => kind !== 'reported'))).toEqual([]);
  });

  test('is cancelled where it is; envoys without anywhere to go keep it from beginning, or from ending', async () => {
    const { hub } = await fleet(20);
    const row = await hub.batches.begin({ kind: 'drain', site: 'a', targets: ['b'], rate: '20/s' }, SYSTEM, '');
    await eventually(async () => expect((await hub.batches.progress(row.id)).moved).toBeGreaterThan(2), { everyMs: 5 });
    expect(await hub.batches.cancel('a', SYSTEM, '')).toEqual([row.id]);
    await hub.batches.stop();
    const { moved, remaining, state } = await hub.batches.progress(row.id);
    expect([state, moved + remaining, hub.site('a')?.state]).toEqual(['cancelled', 20, 'active']);
    expect(remaining).toBeGreaterThan(0);
    for (const id of ['b', 'c']) hub.setState(id, 'draining');
    // what cannot end is not begun
    await expect(hub.batches.begin({ kind: 'drain', site: 'a', targets: [] }, SYSTEM, '')).rejects.toMatchObject({ code: 'NO_ROUTE' });
    expect(hub.site('a')?.state).toBe('active');
    // what can end no longer stays, and says so
    hub.setState('c', 'active');
    const stuck = await hub.batches.begin({ kind: 'drain', site: 'a', targets: ['c'], rate: '20/s' }, SYSTEM, '');
    hub.setState('c', 'draining');
    await eventually(async () => {
      const progress = await hub.batches.progress(stuck.id);
      expect(progress.remaining).toBeGreaterThan(0);
      expect(progress).toMatchObject({ state: 'running', failed: progress.remaining });
    });
  });

  test('of a dead spoke is refused what an evacuation does; back again it learns what was given away', async () => {
    const { hub, at, agents, checkIns, history } = await fleet(6);
    await expect(hub.batches.begin({ kind: 'evacuate', site: 'a', targets: [] }, SYSTEM, '')).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
    });
    for (const agent of agents) agent.finishRun();
    await checkIns();
    at('a').life.kill();
    const row = await hub.batches.begin({ kind: 'evacuate', site: 'a', targets: ['c'] }, SYSTEM, '');
    await eventually(async () => expect(await hub.batches.progress(row.id)).toMatchObject({ state: 'done', moved: 6, remaining: 0 }));
    expect(hub.site('a')?.state).toBe('evacuated');
    for (let count = 0; count < 3; count += 1) await checkIns();
    expect(agents.map(({ site }) => site)).toEqual(agents.map(() => 'c'));
    await at('a').start();
    await hub.link(at('a'));
    await eventually(async () => expect(await hub.store.moves.unfinished()).toEqual([]));
    for (const { id } of agents)
      for (const { report } of await at('c').store.runs.newest(id, 9))
        history.add({ kind: 'kept', envoy: id, site: 'c', run: report.run_id });
    expect(judgeHistory(history.events)).toEqual([]);
  });

  test.each(FAILPOINTS.filter((name) => name.startsWith('drain.') || (name.startsWith('move.') && !name.startsWith('move.und'))))(
    'goes on after the hub died at %s',
    async (point) => {
      const { hub, sites, agents, checkIns } = await fleet(5);
      hub.life.dieAt(point);
      await hub.batches.begin({ kind: 'drain', site: 'a', targets: [] }, SYSTEM, '').catch(() => undefined);
      await eventually(async () => {
        await checkIns();
        expect(hub.life.dead).toBe(true);
      });
      await hub.start();
      for (const site of sites) await hub.link(site);
      await eventually(async () => {
        await checkIns();
        expect([hub.site('a')?.state, agents.map(({ site }) => site), await hub.store.moves.unfinished()]).toEqual([
          'drained',
          agents.map(() => 'b'),
          [],
        ]);
      });
    },
  );
});
