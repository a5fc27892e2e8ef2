/** What every store must do for rosters, moves and drains; run on each database by store.test.ts. */
import { expect, test } from '@jest/globals';
import { newId } from '../../core/base/ids.ts';
import { type MoveRow, STEP } from './moves.ts';
import type { RosterRow } from './roster.ts';
import type { EnvoyIdentity, Store } from './store.ts';

export function movesContract(open: () => Store, anEnvoy: () => EnvoyIdentity): void {
  const row = (more: Partial<RosterRow> = {}): RosterRow => ({
    envoyId: newId(Date.now()),
    hostname: 'h.example',
    status: 'active',
    ownerSite: 'dc1',
    ownerEpoch: 1,
    highestEpoch: 1,
    grant: '',
    identity: '{}',
    heardAt: 7,
    ...more,
  });
  const move = (more: Partial<MoveRow> = {}): MoveRow => ({
    id: newId(Date.now()),
    envoyId: newId(Date.now()),
    hostname: 'h',
    source: 'dc1',
    target: 'eu1',
    ownerEpoch: 2,
    phase: 'INTENT',
    job: '',
    forced: false,
    grant: '',
    steps: 0,
    error: '',
    message: '',
    createdAt: 5,
    committedAt: 0,
    endedAt: 0,
    unfinished: true,
    ...more,
  });

  test('every change of an identity takes the next number of the log, in its transaction; the newest counts', async () => {
    const store = open();
    const before = await store.rosterLog.head();
    const [a, b] = [anEnvoy(), anEnvoy()];
    await store.envoys.insert(a);
    await store.envoys.insert(b);
    await store.envoys.update(a.id, { labels: { x: 'y' } });
    await store.envoys.setStatus(b.id, 'revoked', 'lost');
    await store.envoys.remove(b.id);
    await store.rosterLog.changed(a.id);
    expect(await store.rosterLog.list(before, 100)).toEqual([
      { envoyId: b.id, seq: before + 5 },
      { envoyId: a.id, seq: before + 6 },
    ]);
    expect(await store.rosterLog.list(before + 5, 100)).toEqual([{ envoyId: a.id, seq: before + 6 }]);
    // nothing that failed or changed nothing is logged
    await expect(
      store.transaction(async (tx) => {
        await tx.envoys.update(a.id, { address: 'x' });
        throw new Error('back');
      }),
    ).rejects.toThrow('back');
    await expect(store.envoys.insert(a)).rejects.toThrow();
    expect(await store.envoys.remove(b.id)).toBe(false);
    expect(await store.rosterLog.head()).toBe(before + 6);
  });

  test('a roster counts and lists the live ones, and remembers the highest epoch', async () => {
    const { roster } = open();
    const [a, b, gone, out] = [
      row({ ownerSite: 'x1' }),
      row({ ownerSite: 'x1' }),
      row({ ownerSite: 'x1', status: 'removed' }),
      row({ ownerSite: 'x1', status: 'revoked' }),
    ];
    for (const each of [a, b, gone, out]) await roster.put(each);
    expect(await roster.byId(a.envoyId)).toEqual(a);
    expect((await roster.list({ site: 'x1' }, 10)).map(({ envoyId }) => envoyId).sort()).toEqual([a.envoyId, b.envoyId].sort());
    expect([await roster.count('x1'), (await roster.list({ site: 'x1' }, 1)).length]).toEqual([2, 1]);
    await roster.put({ ...a, ownerSite: 'x2', ownerEpoch: 2, highestEpoch: 2 });
    await roster.raise(a.envoyId, 9);
    await roster.raise(a.envoyId, 4);
    expect(await roster.byId(a.envoyId)).toMatchObject({ ownerSite: 'x2', ownerEpoch: 2, highestEpoch: 9 });
    expect([await roster.count('x1'), await roster.highestEpoch()]).toEqual([1, 9]);
    await roster.putSite({ siteId: 'x1', epoch: 1, seq: 3, heardAt: 4 });
    await roster.putSite({ siteId: 'x1', epoch: 2, seq: 1, heardAt: 5 });
    expect([await roster.site('x1'), await roster.site('x9')]).toEqual([{ siteId: 'x1', epoch: 2, seq: 1, heardAt: 5 }, undefined]);
  });

  test('a move goes on only from the phase it stands in; duties add up', async () => {
    const { moves } = open();
    const one = move();
    await moves.add(one);
    expect(await moves.byId(one.id)).toEqual(one);
    expect(await moves.update(one.id, { phase: 'READY' }, ['COMMITTED'])).toBe(false);
    expect(await moves.update(one.id, { phase: 'READY' }, ['INTENT'])).toBe(true);
    await Promise.all([moves.mark(one.id, STEP.activated), moves.mark(one.id, STEP.departed), moves.mark(one.id, 0, { error: 'X' })]);
    expect(await moves.byId(one.id)).toMatchObject({ phase: 'READY', steps: STEP.activated | STEP.departed, error: 'X' });
    expect((await moves.listOfSite('eu1')).map(({ id }) => id)).toContain(one.id);
    await moves.mark(one.id, 0, { unfinished: false });
    expect((await moves.unfinished()).map(({ id }) => id)).not.toContain(one.id);
    const job = newId(1);
    for (const phase of ['COMMITTED', 'COMMITTED', 'UNDONE'] as const) await moves.add(move({ phase, job, endedAt: 8, unfinished: false }));
    expect(await moves.countByPhase(job)).toEqual({ INTENT: 0, READY: 0, COMMITTED: 2, CONFIRMED: 0, UNDONE: 1 });
    const [newest, older] = await moves.list({ job }, 2);
    expect((await moves.list({ job, before: newest!.id }, 1))[0]?.id).toBe(older?.id);
    expect(await moves.prune(9)).toBeGreaterThanOrEqual(3);
    expect(await moves.list({ job }, 9)).toEqual([]);
  });

  test('a drain ends once', async () => {
    const { drains } = open();
    const drain = {
      id: newId(2),
      kind: 'drain' as const,
      site: 'dc1',
      state: 'running' as const,
      targets: ['eu1'],
      envoys: [],
      rate: '2%/min',
      deadlineAt: 0,
      actor: '{}',
      total: 3,
      createdAt: 1,
      endedAt: 0,
      error: '',
    };
    await drains.add(drain);
    expect(await drains.list({ state: 'running', site: 'dc1' }, 9)).toEqual([drain]);
    expect([await drains.end(drain.id, 'done', 5, ''), await drains.end(drain.id, 'cancelled', 6, '')]).toEqual([true, false]);
    expect(await drains.byId(drain.id)).toEqual({ ...drain, state: 'done', endedAt: 5 });
  });
}
