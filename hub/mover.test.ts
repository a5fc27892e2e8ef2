/** Moves of envoys: what each phase leaves behind, who may die when, and a hub that was put back from an old copy. */
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import type { EnvoyId } from '../core/base/ids.ts';
import { SYSTEM } from '../server/audit/record.ts';
import { FAILPOINTS } from '../server/failpoints.ts';
import { openDatabase } from '../server/store/database.ts';
import { eventually } from '../test/harness/eventually.ts';
import { judgeHistory, MoveHistory } from '../test/harness/move-history.ts';
import { ModelAgent, type ModelSite, type Moving, openMoving } from '../test/harness/moving-sites.ts';

jest.setTimeout(120_000);
const open: Moving[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

async function fleet(ids: readonly string[], envoys: number) {
  const moving = await openMoving(ids);
  open.push(moving);
  const { hub, sites } = moving;
  const history = new MoveHistory();
  const agents: ModelAgent[] = [];
  for (let count = 0; count < envoys; count += 1) {
    const site = sites[count % sites.length]!;
    agents.push(new ModelAgent(await site.enrol(`h${count}`), site.id, history));
  }
  for (const site of sites) await hub.link(site);
  const at = (id: string): ModelSite => sites.find((site) => site.id === id)!;
  const checkIn = (agent: ModelAgent, ackLost = false) => agent.checkIn(at(agent.site), () => hub.lookup(agent.id), ackLost);
  const begin = (agent: { readonly id: EnvoyId }, to: string, forced = false) => ({ envoyId: agent.id, to, actor: SYSTEM, forced });
  return { moving, hub, sites, history, agents, at, checkIn, begin };
}
type Fleet = Awaited<ReturnType<typeof fleet>>;

/** Everybody is well again: what must hold then. */
async function settled({ hub, sites, agents, history, checkIn, at }: Fleet): Promise<void> {
  for (const { life } of [hub, ...sites]) life.fuse = undefined;
  for (const site of sites) if (site.life.dead) await site.start();
  if (hub.life.dead) await hub.start();
  for (const site of sites) await hub.link(site);
  await eventually(
    async () => {
      for (const agent of agents) await checkIn(agent);
      expect(
        (await hub.store.moves.unfinished()).map(({ phase, source, target, steps, error, message }) => ({
          phase,
          source,
          target,
          steps,
          error,
          message,
        })),
      ).toEqual([]);
      for (const agent of agents)
        expect([agent.id, agent.site, agent.waiting]).toEqual([agent.id, (await hub.store.roster.byId(agent.id))?.ownerSite, 0]);
    },
    { timeoutMs: 20_000, everyMs: 5 },
  );
  for (const agent of agents) {
    const owner = at(agent.site);
    for (const { report } of await owner.store.runs.newest(agent.id, 1000))
      history.add({ kind: 'kept', envoy: agent.id, site: owner.id, run: report.run_id });
    for (const site of sites) {
      const slot = site.fleet.slotOf(agent.id);
      expect([site.id, slot >= 0 && site.fleet.view(slot).active]).toEqual([site.id, site === owner]);
      expect((await site.store.ownerships.of(agent.id))?.state).not.toBe('arriving');
    }
  }
  expect(judgeHistory(history.events)).toEqual([]);
}

describe('a move', () => {
  test('goes through its phases, is recorded, and counts as done when the envoy was seen', async () => {
    const all = await fleet(['a', 'b'], 2);
    const { hub, agents, history, checkIn, begin, at } = all;
    const [agent] = [agents[0]!];
    agent.finishRun();
    await checkIn(agent);
    const moved = await hub.mover.move(begin(agent, 'b'));
    expect(moved).toMatchObject({ phase: 'COMMITTED', source: 'a', target: 'b', ownerEpoch: 2, error: '' });
    await expect(hub.mover.move(begin(agent, 'b'))).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await checkIn(agent);
    expect(agent.site).toBe('b');
    agent.finishRun();
    await checkIn(agent);
    await eventually(async () => expect(await hub.store.moves.byId(moved.id)).toMatchObject({ phase: 'CONFIRMED', unfinished: false }));
    expect(await hub.store.roster.byId(agent.id)).toMatchObject({ ownerSite: 'b', ownerEpoch: 2 });
    expect((await hub.store.audit.list({ event: 'envoy.' }, 9)).map(({ event }) => event)).toEqual([
      'envoy.move_confirmed',
      'envoy.move_committed',
      'envoy.move_intent',
    ]);
    // the former owner keeps the grant alone
    expect(await at('a').store.envoys.byId(agent.id)).toBeUndefined();
    expect(await at('a').ownership.redirectOf(agent.id)).toBeDefined();
    expect(await hub.mover.move(begin(agent, 'a'))).toMatchObject({ phase: 'COMMITTED', ownerEpoch: 3 });
    await settled(all);
    expect(history.events.filter(({ kind }) => kind === 'kept')).toHaveLength(2);
  });

  test('that cannot begin says why; one whose source or target is away is undone', async () => {
    const all = await fleet(['a', 'b', 'c'], 3);
    const { hub, agents, begin, at } = all;
    const [agent] = [agents[0]!];
    await expect(hub.mover.start([begin(agent, 'x')])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(hub.mover.start([begin({ id: '01980000-0000-7000-8000-00000000ffff' as EnvoyId }, 'b')])).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    hub.setState('c', 'draining');
    await expect(hub.mover.start([begin(agent, 'c')])).rejects.toMatchObject({ code: 'SPOKE_DRAINING' });
    at('b').life.kill();
    expect(await hub.mover.move(begin(agent, 'b'))).toMatchObject({ phase: 'UNDONE', error: 'SPOKE_UNAVAILABLE', unfinished: false });
    await at('b').start();
    await hub.link(at('b'));
    hub.session('a')!.close('cut');
    expect(await hub.mover.move(begin(agent, 'b'))).toMatchObject({ phase: 'UNDONE', error: 'SPOKE_UNAVAILABLE' });
    await hub.link(at('a'));
    const [first, second] = await Promise.allSettled([hub.mover.start([begin(agent, 'b')]), hub.mover.start([begin(agent, 'b')])]);
    expect([first.status, second]).toMatchObject(['fulfilled', { status: 'rejected', reason: { code: 'MOVE_CONFLICT' } }]);
    // epochs of moves that were undone are not given out again
    await eventually(async () => expect((await hub.store.roster.byId(agent.id))?.ownerEpoch).toBe(4));
    await settled(all);
  });

  test('by force needs no source: the old owner learns of it when it is back', async () => {
    const all = await fleet(['a', 'b'], 2);
    const { hub, agents, checkIn, begin, at, history } = all;
    const [agent] = [agents[0]!];
    agent.finishRun();
    await checkIn(agent);
    at('a').life.kill();
    const moved = await hub.mover.move(begin(agent, 'b', true));
    expect(moved).toMatchObject({ phase: 'COMMITTED', forced: true });
    for (let count = 0; count < 2; count += 1) await checkIn(agent);
    expect(agent.site).toBe('b');
    await eventually(async () => expect(await hub.store.moves.byId(moved.id)).toMatchObject({ phase: 'CONFIRMED', unfinished: true }));
    await settled(all);
    // what had come to the old owner alone is handed over
    expect(history.events.filter(({ kind }) => kind === 'kept')).toHaveLength(1);
  });
});

const HUB_POINTS = FAILPOINTS.filter((name) => name.startsWith('move.'));

describe('whoever dies', () => {
  test.each(HUB_POINTS)('the hub at %s', async (point) => {
    const all = await fleet(['a', 'b'], 2);
    const { hub, agents, checkIn, begin, at } = all;
    const [agent, other] = [agents[0]!, agents[1]!];
    for (const each of [agent, other]) each.finishRun();
    const undoing = point.startsWith('move.undo');
    if (undoing) at('b').life.fuse = 2;
    hub.life.dieAt(point);
    await hub.mover.move(begin(agent, 'b')).catch(() => undefined);
    if (undoing && !hub.life.dead) {
      await at('b').start();
      await hub.link(at('b'));
    }
    for (let count = 0; count < 4; count += 1) await checkIn(agent);
    await eventually(() => expect(hub.life.dead).toBe(true), { everyMs: 5 });
    await settled(all);
    const [move] = await hub.store.moves.list({}, 1);
    const committed = HUB_POINTS.indexOf(point) >= HUB_POINTS.indexOf('move.commit.written') && !undoing && point !== 'move.undone.written';
    if (point !== 'move.intent.before') expect(move?.phase).toBe(committed ? 'CONFIRMED' : 'UNDONE');
  });

  test('anybody at any time: one owner, growing epochs, every result once', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(9), fc.nat(7), fc.nat(40)), { minLength: 30, maxLength: 60 }), async (steps) => {
        const all = await fleet(['a', 'b', 'c'], 5);
        const { hub, sites, agents, checkIn, begin } = all;
        for (const [what, which, when] of steps) {
          const agent = agents[which % agents.length]!;
          const site = sites[when % sites.length]!;
          if (what <= 2) void hub.mover.move(begin(agent, site.id, when % 7 === 0 && site.life.dead)).catch(() => undefined);
          else if (what === 3) hub.session(site.id)?.close('cut');
          else if (what === 4) hub.life.fuse = 1 + when;
          else if (what === 5) site.life.fuse = 1 + (which % 8);
          else if (what === 6) {
            if (hub.life.dead) await hub.start();
            for (const each of sites) {
              if (each.life.dead) await each.start();
              if (hub.session(each.id) === undefined) await hub.link(each);
            }
          } else {
            for (const each of agents) {
              if (when % 2 === 0) each.finishRun();
              await checkIn(each, when % 5 === 0);
            }
          }
        }
        await settled(all);
        for (const each of open.splice(0)) await each.close();
      }),
      { numRuns: 25, endOnFailure: true },
    );
  });
});

test('a hub that was put back from an old copy assigns nothing below what it forgot, catches up, and works', async () => {
  const all = await fleet(['a', 'b', 'c'], 6);
  const { hub, agents, begin, checkIn, sites, moving } = all;
  const copy = `${hub.directory}/copy.db`;
  await hub.store.snapshot(copy);
  const [one, two] = [agents[0]!, agents[1]!];
  for (const to of ['b', 'c', 'b']) {
    expect(await hub.mover.move(begin(one, to))).toMatchObject({ phase: 'COMMITTED' });
    for (let count = 0; count < 3; count += 1) await checkIn(one);
    await eventually(async () => expect(await hub.store.moves.unfinished()).toEqual([]));
  }
  expect(await hub.mover.move(begin(two, 'c'))).toMatchObject({ phase: 'COMMITTED' });
  hub.life.kill();
  await hub.store.close();
  hub.store = await openDatabase({ driver: 'sqlite', path: copy, busyTimeoutMs: 1000, create: false }, 1);
  await hub.start();
  expect(await hub.store.roster.byId(one.id)).toMatchObject({ ownerSite: 'a', ownerEpoch: 1 });
  // while a spoke's log is being read nothing is assigned
  const a = sites[0]!;
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  a.answers = a.answers.map((each) =>
    each.kind.name !== 'roster.pull' ? each : { ...each, answer: (q, asked) => held.then(() => each.answer(q, asked)) },
  );
  const linking = hub.link(a);
  await eventually(() => expect(hub.mover.sequence.behind).toBe(true));
  await expect(hub.mover.start([begin(one, 'c')])).rejects.toMatchObject({ code: 'HUB_BEHIND' });
  release();
  await linking;
  expect(hub.mover.sequence.behind).toBe(false);
  for (const site of sites.slice(1)) await hub.link(site);
  expect(await hub.store.roster.byId(one.id)).toMatchObject({ ownerSite: 'b', ownerEpoch: 4 });
  expect(await hub.store.roster.byId(two.id)).toMatchObject({ ownerSite: 'c', ownerEpoch: 2 });
  const again = await hub.mover.move(begin(one, 'a'));
  expect(again).toMatchObject({ phase: 'COMMITTED', source: 'b' });
  expect(again.ownerEpoch).toBeGreaterThan(4);
  await settled(all);
  expect(moving.sites).toHaveLength(3);
});
