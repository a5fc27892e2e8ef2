/** A hub and two spokes as processes: releases, questions to the fleet and audit copies, seen through vigocli, while servers die. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { eventually } from '../harness/eventually.ts';
import { type JoinedFleet, makeJoinedFleet } from '../harness/joined-fleet.ts';

jest.setTimeout(120_000);

let fleet: JoinedFleet;
beforeAll(async () => {
  const stage = mkdtempSync(join(tmpdir(), 'vigo-stage-'));
  writeFileSync(join(stage, 'all.vgo'), 'match: "*.example"\nmodules: []\n');
  fleet = await makeJoinedFleet(
    ['dc1', 'eu1'],
    { publish: { rings: [{ name: 'canary', spoke: 'dc1', soak: '6s' }, { name: 'rest' }] } },
    stage,
  );
  rmSync(stage, { recursive: true });
});
afterAll(() => fleet.remove());

interface Status {
  live: { number: number; root: string } | null;
  spokes: {
    spoke: string;
    state: string;
    number: number | null;
    lag: number | null;
    error: string | null;
    bytes: number | null;
    served_after_ms: number | null;
  }[];
}
interface Listed<T> {
  items: T[];
  complete: boolean;
  spokes: { id: string; status: string; age_s: number | null }[];
}

async function publish(port: number): Promise<number> {
  writeFileSync(join(fleet.hub.dataDir, 'stacks', 'fleet-test.vgo'), `match: "nobody-*"\nmodules: []\nvars: { port: ${port} }\n`);
  const { number } = await fleet.hub.cliJson<{ number: number }>(['--yes', 'config', 'publish', '--message', `port ${port}`]);
  return number;
}

const status = () => fleet.hub.cliJson<Status>(['config', 'status']);
const serving = (number: number, ...ids: string[]) =>
  eventually(
    async () => {
      const { spokes } = await status();
      expect(spokes.filter(({ spoke }) => ids.includes(spoke)).map(({ spoke, number: at, state, lag }) => [spoke, at, state, lag])).toEqual(
        ids.map((id) => [id, number, 'loaded', 0]),
      );
    },
    { timeoutMs: 20_000 },
  );

describe('releases', () => {
  test('reach every spoke, and the hub shows what each serves', async () => {
    const number = await publish(80);
    await serving(number, 'dc1', 'eu1');
    const { live, spokes } = await status();
    for (const id of ['dc1', 'eu1'])
      expect((await fleet.spoke(id).cliJson<Status>(['config', 'status'])).live).toMatchObject({ number, root: live!.root });
    for (const { bytes, served_after_ms: ms } of spokes) expect([bytes! > 0, ms! >= 0]).toEqual([true, true]);
    expect(await fleet.hub.cli(['config', 'status'])).toMatch(/dc1\s+loaded\s+1\s+0/);
  });

  test('a spoke refuses to publish and names its hub', async () => {
    const refused = await fleet.spoke('dc1').run(['--yes', 'config', 'publish']);
    expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining(`publish on the hub localhost:${fleet.hub.grpcPort}`)]);
  });

  test('a spoke that was dead catches up when it comes back', async () => {
    await fleet.spoke('dc1').kill();
    await publish(81);
    const number = await publish(82);
    await serving(number, 'eu1');
    expect((await status()).spokes.find(({ spoke }) => spoke === 'dc1')).toMatchObject({ number: number - 2, lag: 2 });
    await fleet.spoke('dc1').start();
    await fleet.linked('dc1');
    await serving(number, 'dc1', 'eu1');
  });

  test('by rings one spoke gets it first; vigocli follows to the last ring', async () => {
    writeFileSync(join(fleet.hub.dataDir, 'stacks', 'fleet-test.vgo'), 'match: "nobody-*"\nmodules: []\nvars: { port: 90 }\n');
    const rolled = fleet.hub.run(['--yes', 'config', 'publish', '--rings']);
    await eventually(async () => {
      const { rollout, spokes } = await fleet.hub.cliJson<Status & { rollout: { state: string; ring: string } }>(['config', 'status']);
      const lags = spokes.map(({ spoke, lag }) => [spoke, lag]);
      expect([rollout.state, rollout.ring, lags]).toEqual([
        'running',
        'canary',
        [
          ['dc1', 0],
          ['eu1', 1],
        ],
      ]);
    });
    const { code, stderr } = await rolled;
    expect([code, stderr]).toEqual([0, expect.stringContaining('through all rings')]);
    await serving((await status()).live!.number, 'dc1', 'eu1');
  });
});

describe('questions to the fleet', () => {
  test('are answered by all, and of one spoke alone with --spoke', async () => {
    for (const noun of [
      ['envoys', 'list'],
      ['runs', 'list'],
      ['tokens', 'list'],
      ['envoys', 'pending'],
    ]) {
      const { complete, spokes } = await fleet.hub.cliJson<Listed<unknown>>(noun);
      expect([noun, complete, spokes.map(({ id, status: said }) => [id, said])]).toEqual([
        noun,
        true,
        [
          ['hub', 'answered'],
          ['dc1', 'answered'],
          ['eu1', 'answered'],
        ],
      ]);
    }
    expect((await fleet.hub.cliJson<Listed<unknown>>(['--spoke', 'eu1', 'envoys', 'list'])).spokes).toMatchObject([{ id: 'eu1' }]);
    expect((await fleet.hub.run(['--spoke', 'xx', 'envoys', 'list'])).code).toBe(7);
    expect((await fleet.spoke('dc1').run(['--spoke', 'eu1', 'envoys', 'list'])).code).toBe(7);
  });

  test('with a dead spoke exit 8 and say who is missing; --allow-partial makes it 0', async () => {
    await fleet.spoke('eu1').kill();
    await eventually(async () => {
      const partial = await fleet.hub.run(['envoys', 'list']);
      expect([partial.code, partial.stderr]).toEqual([
        8,
        expect.stringMatching(/2 of 3 spokes answered\n\s+eu1: (offline|timed out), heard \d+ s ago/),
      ]);
    });
    const allowed = await fleet.hub.run(['--allow-partial', '--json', 'envoys', 'list']);
    expect([allowed.code, (JSON.parse(allowed.stdout) as Listed<unknown>).complete]).toEqual([0, false]);
    // a thing that may be there is not "not found"
    expect((await fleet.hub.run(['envoys', 'show', 'web1.eu1.example'])).code).toBe(5);
    await fleet.spoke('eu1').start();
    await fleet.linked('eu1');
    expect((await fleet.hub.run(['envoys', 'list'])).code).toBe(0);
    expect((await fleet.hub.run(['envoys', 'show', 'web1.eu1.example'])).code).toBe(7);
  });
});

describe('audit logs', () => {
  interface Row {
    spoke: string;
    seq: number;
    time: string;
    event: string;
  }
  const log = (...more: string[]) => fleet.hub.cliJson<Listed<Row>>(['--all', '--allow-partial', ...more, 'audit', 'log']);
  const of = (rows: Row[], spoke: string) => rows.filter((row) => row.spoke === spoke).map(({ seq }) => seq);

  async function expectWhole(spoke: string): Promise<number> {
    return eventually(
      async () => {
        const own = (await fleet.spoke(spoke).cliJson<Listed<Row>>(['--all', 'audit', 'log'])).items;
        const copied = of((await log()).items, spoke);
        expect(copied).toEqual(own.map(({ seq }) => seq));
        expect(copied).toEqual(Array.from({ length: copied.length }, (_, i) => copied.length - 1 - i));
        return copied.length;
      },
      { timeoutMs: 30_000, everyMs: 500 },
    );
  }

  test('of all sites are one list by time, also of a spoke that is dead, with the age of what is known', async () => {
    expect(await expectWhole('dc1')).toBeGreaterThan(1);
    const { items } = await log();
    expect([...items].sort((a, b) => (a.time > b.time ? -1 : a.time < b.time ? 1 : 0)).map(({ time }) => time)).toEqual(
      items.map(({ time }) => time),
    );
    expect(new Set(items.map(({ spoke }) => spoke))).toEqual(new Set(['hub', 'dc1', 'eu1']));
    await fleet.spoke('dc1').kill();
    await eventually(async () => {
      const dead = await log();
      expect(dead.spokes.find(({ id }) => id === 'dc1')).toMatchObject({ status: 'offline', age_s: expect.any(Number) });
      expect(of(dead.items, 'dc1').length).toBeGreaterThan(1);
    });
    await fleet.spoke('dc1').start();
    await fleet.linked('dc1');
    expect((await fleet.spoke('dc1').cliJson<{ ok: boolean; findings: unknown[] }>(['audit', 'verify'])).findings).toEqual([]);
  });

  test('are copied without hole or double although the hub is killed on the way', async () => {
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5; i++) await fleet.spoke('dc1').run(['secrets', 'set', `test/r${round}-${i}`], 'value');
      await fleet.hub.kill();
      await fleet.hub.start();
      await fleet.linked('dc1', 'eu1');
    }
    expect(await expectWhole('dc1')).toBeGreaterThan(15);
    await expectWhole('eu1');
  });
});
