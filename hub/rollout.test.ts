/** A publish by rings: order, what stops it, the way back, and a hub that dies on the way. */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { systemClock } from '../core/base/clock.ts';
import { newId } from '../core/base/ids.ts';
import { FLAG } from '../server/fleet/columns.ts';
import { RUN_STATES } from '../server/fleet/convergence.ts';
import { settingsSchema } from '../server/settings/schema.ts';
import { quietLog } from '../test/fakes/quiet-log.ts';
import { eventually } from '../test/harness/eventually.ts';
import { BY_ALICE, dataDirectory, writeStage } from '../test/harness/publishing.ts';
import { type HubEnd, openHub, openSpoke, type SpokeEnd } from '../test/harness/two-sites.ts';
import { judge, type Rings, Rollout, ringsOf } from './rollout.ts';

jest.setTimeout(60_000);

const stops: (() => Promise<void>)[] = [];
const made: string[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function directory(): string {
  const path = dataDirectory();
  made.push(path);
  return path;
}

interface RingHub extends HubEnd {
  readonly rollout: Rollout;
  close(): Promise<void>;
}

async function hub(path = directory()): Promise<RingHub> {
  const late: { rollout?: Rollout } = {};
  const opened = await openHub(path, { allowed: (spoke) => late.rollout?.allowed(spoke) });
  const { publisher, store, sync, sessions } = opened;
  const rollout = new Rollout({
    rollouts: store.rollouts,
    sync,
    session: (spoke) => [...sessions].find(({ siteId }) => siteId === spoke),
    live: () => publisher.live?.number ?? 0,
    revert: async (number) => {
      const { release } = await publisher.rollback({ ...BY_ALICE, author: 'system', number });
      await sync.offerAll();
      return release!.number;
    },
    clock: systemClock,
    log: quietLog(),
    tickMs: 20,
    loadMs: 3000,
  });
  late.rollout = rollout;
  await rollout.resume();
  const close = async () => {
    await rollout.stop();
    await opened.stop();
  };
  stops.push(close);
  return { ...opened, rollout, close };
}

async function spoke(id: string, on: HubEnd): Promise<SpokeEnd> {
  const opened = await openSpoke(directory(), id);
  stops.push(() => opened.stop());
  await on.link(opened);
  return opened;
}

/** Envoys of a spoke that enforce `release` and do well. */
function enrol(end: SpokeEnd, count: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    const slot = end.fleet.insert({
      id: newId(systemClock.now() + i),
      hostname: `${end.id}-${i}`,
      identityKey: randomBytes(32),
      status: 'active',
      ownerEpoch: 1,
    });
    end.fleet.columns.runState[slot] = RUN_STATES.indexOf('converged');
    return slot;
  });
}

/** As if they had checked in on what their spoke serves. */
function fetched(end: SpokeEnd): void {
  for (const slot of end.fleet.slots()) end.fleet.columns.release[slot] = end.publisher.live?.number ?? 0;
}

const tree = (port: number) => ({
  'web.vgo': `match: "web*"\nmodules: [site]\nvars: { port: ${port} }\n`,
  'modules/site.vgo': 'name: site\nresources: []\n',
});
const rings = (...soaks: number[]): Rings => [
  { name: 'first', spoke: 'dc1', soakMs: soaks[0] ?? 200, minOkPct: 90 },
  { name: 'second', spoke: 'eu1', soakMs: soaks[1] ?? 200, minOkPct: 90 },
  { name: 'rest', spoke: null, soakMs: 0, minOkPct: 90 },
];

async function publish(on: RingHub, port: number, by?: Rings): Promise<number> {
  writeStage(on.directory, tree(port));
  const run = async () => {
    const { status, release } = await on.publisher.publish(BY_ALICE);
    return { status, number: release?.number ?? null };
  };
  if (by !== undefined) return (await on.rollout.publish(by, run)).number!;
  const { number } = await run();
  await on.rollout.superseded();
  await on.sync.offerAll();
  return number!;
}

const serving = (...ends: SpokeEnd[]) => ends.map(({ publisher }) => publisher.live?.number);

describe('a publish by rings', () => {
  async function started(): Promise<{ on: RingHub; dc1: SpokeEnd; eu1: SpokeEnd; ap1: SpokeEnd }> {
    const on = await hub();
    const ends = { dc1: await spoke('dc1', on), eu1: await spoke('eu1', on), ap1: await spoke('ap1', on) };
    for (const end of Object.values(ends)) enrol(end, 10);
    await publish(on, 80);
    await eventually(() => expect(serving(...Object.values(ends))).toEqual([1, 1, 1]));
    for (const end of Object.values(ends)) fetched(end);
    return { on, ...ends };
  }

  test('reaches ring after ring, and then everyone else', async () => {
    const { on, dc1, eu1, ap1 } = await started();
    await publish(on, 81, rings(600, 600));
    // a link made anew on the way gives nothing away
    ap1.hub?.close('cut');
    await on.link(ap1);
    await eventually(() => expect(serving(dc1, eu1, ap1)).toEqual([2, 1, 1]));
    fetched(dc1);
    await eventually(() => expect(serving(dc1, eu1, ap1)).toEqual([2, 2, 1]));
    expect(on.rollout.current).toMatchObject({ number: 2, state: 'running', ring: 1 });
    fetched(eu1);
    await eventually(() => expect(serving(dc1, eu1, ap1)).toEqual([2, 2, 2]));
    await eventually(() => expect(on.rollout.current).toMatchObject({ state: 'done', error: '' }));
  });

  const faults: [string, (end: SpokeEnd, slots: number[]) => void, RegExp][] = [
    [
      'loses convergence',
      ({ fleet: { columns } }, slots) => {
        for (const slot of slots) columns.runState[slot] = RUN_STATES.indexOf('failed');
      },
      /ring "first": 80 % of the envoys of dc1/,
    ],
    [
      'loses check-ins',
      ({ fleet: { columns } }, slots) => {
        for (const slot of slots) columns.flags[slot]! |= FLAG.offline;
      },
      /2 silent/,
    ],
    [
      'is not fetched by its envoys',
      ({ fleet: { columns } }, slots) => {
        for (const slot of slots) columns.release[slot] = 1;
      },
      /8 of 10 reached/,
    ],
  ];
  test.each(faults)('a ring that %s takes the fleet back', async (_name, spoil, why) => {
    const { on, dc1, eu1, ap1 } = await started();
    await publish(on, 81, rings(300));
    await eventually(() => expect(serving(dc1)).toEqual([2]));
    fetched(dc1);
    spoil(dc1, [...dc1.fleet.slots()].slice(0, 2));
    await eventually(() => expect(serving(dc1, eu1, ap1)).toEqual([3, 3, 3]));
    expect(on.rollout.current).toMatchObject({ number: 2, state: 'reverted', error: expect.stringMatching(why) });
    expect(await on.store.releases.byNumber(3)).toMatchObject({ author: 'system', rollbackOf: 1 });
    for (const end of [eu1, ap1]) expect(end.released.map(({ number }) => number)).toEqual([1, 3]);
    expect(dc1.publisher.live?.root).toBe((await on.store.releases.byNumber(1))?.root);
  });

  test('envoys that were silent or failed before do not stop it', async () => {
    const { on, dc1, eu1, ap1 } = await started();
    const [one, two] = [...dc1.fleet.slots()];
    dc1.fleet.columns.flags[one!]! |= FLAG.offline;
    dc1.fleet.columns.runState[two!] = RUN_STATES.indexOf('failed');
    await publish(on, 81, rings(200, 100));
    await eventually(() => expect(serving(dc1)).toEqual([2]));
    fetched(dc1);
    dc1.fleet.columns.release[one!] = 1;
    await eventually(() => expect(serving(eu1)).toEqual([2]));
    fetched(eu1);
    await eventually(() => expect(serving(dc1, eu1, ap1)).toEqual([2, 2, 2]));
  });

  test('a ring whose spoke is gone or refuses the release takes the fleet back', async () => {
    const { on, dc1, eu1, ap1 } = await started();
    dc1.hub?.close('cut');
    await publish(on, 81, rings());
    await eventually(() => expect(serving(eu1, ap1)).toEqual([3, 3]));
    expect(on.rollout.current).toMatchObject({ state: 'reverted', error: expect.stringContaining('cannot be reached') });
  });

  test('another publish ends it, a hub that dies on the way goes on with it', async () => {
    const { on, dc1, eu1, ap1 } = await started();
    await publish(on, 81, rings(60_000));
    await eventually(() => expect(serving(dc1)).toEqual([2]));
    await publish(on, 82);
    await eventually(() => expect(serving(dc1, eu1, ap1)).toEqual([3, 3, 3]));
    expect(on.rollout.current).toMatchObject({ number: 2, state: 'superseded' });
    for (const end of [dc1, eu1, ap1]) fetched(end);
    await publish(on, 83, rings(1500, 100));
    await eventually(() => expect(serving(dc1)).toEqual([4]));
    for (const end of [dc1, eu1, ap1]) {
      fetched(end);
      end.hub?.close('the hub dies');
    }
    stops.splice(stops.indexOf(on.close), 1);
    await on.close();
    const again = await hub(on.directory);
    expect(again.rollout.current).toMatchObject({ number: 4, state: 'running', ring: 0 });
    for (const end of [dc1, eu1, ap1]) await again.link(end);
    expect(serving(dc1, eu1, ap1)).toEqual([4, 3, 3]);
    await eventually(() => expect(serving(eu1)).toEqual([4]));
    fetched(eu1);
    await eventually(() => expect(serving(dc1, eu1, ap1)).toEqual([4, 4, 4]));
  });
});

describe('rings of the settings', () => {
  const settings = (list: object[]) => {
    const parsed = settingsSchema('hub.example.com').parse({
      server: { hostname: 'hub.example.com' },
      publish: { rings: list },
    });
    return ringsOf(parsed, (id) => id === 'dc1');
  };

  test.each<[string, object[], string]>([
    ['none', [], 'is empty'],
    ['by share', [{ name: 'a', share_pct: 5 }], 'share_pct, which is not part of this build'],
    ['by label', [{ name: 'a', label: 'canary=yes' }], 'label, which is not part of this build'],
    ['by target', [{ name: 'a', target: 'env:x' }], 'target, which is not part of this build'],
    ['everyone else first', [{ name: 'a' }, { name: 'b', spoke: 'dc1' }], 'only the last ring'],
    ['a spoke that is none', [{ name: 'a', spoke: 'xx' }], 'does not exist'],
    ['the hub', [{ name: 'a', spoke: 'hub' }], 'get a release first'],
  ])('%s', (_name, list, reason) => {
    expect(() => settings(list)).toThrow(reason);
  });

  test('a spoke and everyone else', () => {
    expect(settings([{ name: 'a', spoke: 'dc1', soak: '1m' }, { name: 'b' }])).toEqual([
      { name: 'a', spoke: 'dc1', soakMs: 60_000, minOkPct: 95 },
      { name: 'b', spoke: null, soakMs: 300_000, minOkPct: 95 },
    ]);
  });

  test.each([
    ['all well', { envoys: 20, good: 20, silent: 0 }, { envoys: 20, good: 20, silent: 0 }, undefined, 100, 95],
    ['a weak baseline lowers the limit', { envoys: 10, good: 6, silent: 0 }, { envoys: 10, good: 6, silent: 0 }, undefined, 60, 50],
    ['an empty spoke', { envoys: 0, good: 0, silent: 0 }, { envoys: 0, good: 0, silent: 0 }, 0, 100, 95],
    ['all silent before', { envoys: 4, good: 0, silent: 4 }, { envoys: 4, good: 0, silent: 4 }, 0, 100, 95],
    ['half fell silent', { envoys: 10, good: 5, silent: 5 }, { envoys: 10, good: 10, silent: 0 }, undefined, 50, 95],
    ['not fetched', { envoys: 10, good: 10, silent: 0 }, { envoys: 10, good: 10, silent: 0 }, 3, 30, 95],
  ])('judged: %s', (_name, now, before, reached, pct, limit) => {
    expect(judge(now, before, 95, reached)).toEqual({ pct, limit });
  });
});
