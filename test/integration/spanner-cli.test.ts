/** The verbs that move envoys, as an operator types them: a hub, two spokes and an envoy as processes; exit codes of server.md §5.1, text and JSON. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { eventually } from '../harness/eventually.ts';
import { type JoinedFleet, makeJoinedFleet } from '../harness/joined-fleet.ts';
import { type Finished, runProgram } from '../harness/process-launcher.ts';

jest.setTimeout(120_000);

const HOST = 'web1.dc1.example';
let fleet: JoinedFleet;
let agent: string;

const run = (...args: string[]): Promise<Finished> => runProgram('vigocli', ['--data-dir', fleet.hub.dataDir, ...args]);
const stateOf = async (id: string) =>
  (await fleet.hub.cliJson<{ state: string; link: { state: string } }>(['spanner', 'spoke', 'show', id])).state;

beforeAll(async () => {
  const stage = mkdtempSync(join(tmpdir(), 'vigo-stage-'));
  writeFileSync(join(stage, 'all.vgo'), 'match: "*.example"\nmodules: []\n');
  fleet = await makeJoinedFleet(['dc1', 'eu1'], {}, stage);
  rmSync(stage, { recursive: true });
  agent = mkdtempSync(join(tmpdir(), 'vigo-agent-'));
  const { items } = await fleet.hub.cliJson<{ items: { token: string }[] }>(['tokens', 'create', '--pattern', HOST]);
  writeFileSync(join(agent, 'token'), items[0]!.token, { mode: 0o600 });
  const dirs = ['--config-dir', join(agent, 'config'), '--state-dir', join(agent, 'state')];
  const api = ['--api-addr', `https://localhost:${fleet.hub.apiPort}`];
  const registered = await runProgram('vigo', [...dirs, ...api, 'register', '--token-file', join(agent, 'token'), '--hostname', HOST]);
  expect([registered.code, registered.stderr]).toEqual([0, '']);
  await eventually(async () => expect((await run('spanner', 'reassign', HOST, '--to', 'eu1', '--dry-run')).code).toBe(0), {
    timeoutMs: 15_000,
  });
});
afterAll(async () => {
  await fleet.remove();
  rmSync(agent, { recursive: true });
});

/** in this order: each stands on what the ones before it did */
const CASES: readonly (readonly [verb: string, code: number, says: RegExp])[] = [
  ['spanner reassign nobody.example --to eu1', 7, /matches no envoy \[NO_TARGETS\]/],
  [`spanner reassign ${HOST} --to dc1`, 7, /nothing to move: .* is at dc1 already/],
  [`spanner reassign ${HOST} --to nowhere`, 7, /no spoke nowhere/],
  [`spanner reassign ${HOST} --to eu1 --max-rate 9x`, 2, /"9x" is no rate/],
  ['spanner reassign role:web --to eu1', 2, /not targeted by role/],
  ['spanner reassign spoke:dc1 --to eu1 --dry-run', 0, /web1\.dc1\.example\s+dc1\s+eu1/],
  ['spanner moves', 0, /nothing found/],
  ['spanner spoke drain nowhere', 7, /no spoke nowhere/],
  ['spanner spoke drain hub', 2, /the site of the hub itself/],
  ['spanner spoke drain dc1', 7, /web1\.dc1\.example \[NO_ROUTE\]/],
  ['spanner spoke drain dc1 --cancel', 0, /nothing ran for dc1/],
  ['spanner spoke undrain dc1', 4, /dc1 is active/],
  ['spanner spoke evacuate dc1', 4, /copy of its roster is \d+ s old/],
  ['spanner spoke evacuate dc1 --confirm dc1', 4, /dc1 is linked and answers/],
  ['spanner spoke remove dc1 --yes', 4, /dc1 is active/],
  [`spanner reassign ${HOST} --to eu1 --max-rate 10/s --wait --timeout 2s`, 3, /web1\.dc1\.example\s+dc1\s+eu1\s+COMMITTED/],
  [`spanner reassign ${HOST} --to dc1 --max-rate 10/s --wait --timeout 1s`, 3, /eu1\s+dc1\s+COMMITTED/],
  ['spanner spoke drain dc1 --to eu1 --max-rate 10/s', 0, /drain \S+ done: moved 1, remaining 0, failed 0\n/],
  ['spanner spoke drain dc1 --to eu1', 4, /dc1 is drained, not active/],
  [`spanner reassign ${HOST} --to dc1`, 4, /dc1 is drained and takes no envoys/],
  ['spanner spoke undrain dc1 --take-back --max-rate 10/s', 0, /take_back \S+ done: moved 1/],
  ['doctor', 0, /spokes: none of 2 is unreachable/],
];

test('each verb answers with its exit code and says why', async () => {
  for (const [verb, code, says] of CASES) {
    const ended = await run(...verb.split(' '));
    expect([verb, ended.code, ended.stdout + ended.stderr]).toEqual([verb, code, expect.stringMatching(says)]);
  }
  const plan = await run('--json', 'spanner', 'reassign', HOST, '--to', 'eu1', '--dry-run');
  expect(JSON.parse(plan.stdout)).toMatchObject({ status: 'planned', plan: [{ hostname: HOST, from: 'dc1', to: 'eu1' }] });
});

test('a dead spoke looks dead; its evacuation ends the drain that waits for it, and it comes back fenced', async () => {
  await fleet.spoke('dc1').kill();
  await eventually(async () => expect((await run('doctor')).stdout).toMatch(/warn\s+spokes: 1 of 2: dc1 unreachable since/), {
    timeoutMs: 15_000,
  });
  expect((await run('spanner', 'status')).stdout).toMatch(/dc1\s+active\s+unreachable\s+-\s+\d+\s+-\s+-\s/);

  const waits = await run('spanner', 'spoke', 'drain', 'dc1', '--to', 'eu1', '--max-rate', '10/s', '--no-wait');
  expect([waits.code, waits.stderr]).toEqual([3, expect.stringContaining('dc1 is unreachable: its envoys move when it is back')]);
  const drain = /drain (\S+) running/.exec(waits.stdout)![1]!;

  const away = await run('--json', 'spanner', 'spoke', 'evacuate', 'dc1', '--to', 'eu1', '--confirm', 'dc1');
  expect([away.code, JSON.parse(away.stdout)]).toMatchObject([
    0,
    {
      status: 'evacuated',
      batch: { kind: 'evacuate', state: 'done', moved: 1, remaining: 0 },
      note: expect.stringMatching(/roster is \d+ s old/),
    },
  ]);
  const moves = await fleet.hub.cliJson<{ items: { phase: string }[] }>(['spanner', 'moves', '--batch', drain]);
  expect(moves.items.map(({ phase }) => phase).filter((phase) => phase !== 'UNDONE')).toEqual([]);

  await fleet.spoke('dc1').start();
  await fleet.linked('dc1');
  // fenced by its very welcome: it serves nobody, then learns who belongs to whom
  await eventually(async () => {
    const own = await fleet.spoke('dc1').cliJson<{ items: unknown[] }>(['envoys', 'list']);
    expect(own.items).toEqual([]);
    const { items } = await fleet.hub.cliJson<{ items: { spoke: string }[] }>(['spanner', 'spoke', 'envoys', 'eu1']);
    expect(items.map(({ spoke }) => spoke)).toEqual(['eu1']);
  });
  // longer than a drain that still ran would need to call the empty spoke drained
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect(await stateOf('dc1')).toBe('evacuated');
});
