/** Envoys of spokes seen and handled at the hub, with vigocli: lists, runs as they come, pushes, revocations, and what happens without the owner. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { createApiClient } from '../../cli/api-client.ts';
import { connectionOf } from '../../cli/settings.ts';
import { envoyPolicy } from '../../core/api/envoys.ts';
import { fleetSummary } from '../../core/api/fleet.ts';
import type { RouteContract } from '../../core/api/route.ts';
import { eventually } from '../harness/eventually.ts';
import { type EnrolledMachine, HubAndSpokes, type RoleSite } from '../harness/hub-and-spokes.ts';
import { runProgram, startProgram } from '../harness/process-launcher.ts';

jest.setTimeout(60_000);

const fleet = new HubAndSpokes();
const machines = new Map<string, EnrolledMachine>();
const signal = new AbortController().signal;

async function cli(args: readonly string[], at: RoleSite = fleet.hub): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return runProgram('vigocli', ['--data-dir', at.dataDir, ...args], { env: { HOME: at.dir } });
}

async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await cli(['--json', ...args]);
  if (code !== 0) throw new Error(`vigocli ${args.join(' ')} exits ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

async function rest(contract: RouteContract, params: object = {}): Promise<unknown> {
  const connection = connectionOf({ dataDir: fleet.hub.dataDir, timeout: undefined } as never, { HOME: fleet.hub.dir });
  const client = createApiClient(connection, { signal });
  try {
    return await client.call(contract, { params } as never);
  } finally {
    client.close();
  }
}

interface List<T> {
  items: T[];
  complete: boolean;
}

beforeAll(async () => {
  await fleet.start({ a: ['*.a.test'], b: ['*.b.test'] }, { hub: { spanner: { query_deadline: '2s' } } });
  const stage = join(fleet.hub.dataDir, 'stacks');
  mkdirSync(join(stage, 'modules'), { recursive: true });
  const target = join(fleet.dir, 'made-by-vigo');
  writeFileSync(
    join(stage, 'modules', 'note.vgo'),
    `name: note\nresources:\n  - { name: note, type: file, target_path: ${target}, content: "hello\\n" }\n`,
  );
  writeFileSync(join(stage, 'all.vgo'), 'match: "*.test"\nmodules: [note]\n');
  expect((await cli(['--yes', 'config', 'publish'])).code).toBe(0);
  for (const site of ['a', 'b']) {
    await eventually(() => expect(fleet.spokes[site]!.parts.releases.live?.number).toBe(1));
    for (const host of ['web1', 'web2']) {
      const hostname = `${host}.${site}.test`;
      machines.set(hostname, await fleet.enrol(fleet.hub, hostname, await fleet.hub.token(`*.${site}.test`)));
    }
  }
  for (const hostname of ['web1.a.test', 'web1.b.test']) await machines.get(hostname)!.open().cycle({ signal, talk: true });
}, 120_000);
afterAll(() => fleet.close());

describe('at the hub', () => {
  test('envoys of all spokes are one list by name, each with its spoke', async () => {
    const { items, complete } = await json<List<{ hostname: string; spoke: string }>>('envoys', 'list');
    expect([complete, items.map(({ hostname, spoke }) => [hostname, spoke])]).toEqual([
      true,
      [
        ['web1.a.test', 'a'],
        ['web1.b.test', 'b'],
        ['web2.a.test', 'a'],
        ['web2.b.test', 'b'],
      ],
    ]);
    expect((await cli(['envoys', 'list'])).stdout).toMatch(/HOSTNAME\s+SPOKE/);
    const paged = await json<List<{ hostname: string }>>('--limit', '3', 'envoys', 'list', 'web*');
    expect(paged.items.map(({ hostname }) => hostname)).toEqual(['web1.a.test', 'web1.b.test', 'web2.a.test']);
    const some = await json<List<{ hostname: string }>>('envoys', 'list', 'spoke:b');
    expect(some.items.map(({ hostname }) => hostname)).toEqual(['web1.b.test', 'web2.b.test']);
  });

  test('one envoy, its traits and its policy come from its owner', async () => {
    const { envoyId } = machines.get('web1.b.test')!;
    expect(await json('envoys', 'show', 'web1.b.test')).toMatchObject({ id: envoyId, spoke: 'b', runs: [{ release: 1 }] });
    expect(await json('envoys', 'show', envoyId)).toMatchObject({ hostname: 'web1.b.test' });
    // traits are written behind
    await eventually(async () => expect(Object.keys(await json<object>('envoys', 'traits', 'web1.b.test'))).toContain('os'), {
      timeoutMs: 20_000,
    });
    expect(await rest(envoyPolicy as never, { id: 'web1.a.test' })).toMatchObject({
      hostname: 'web1.a.test',
      release: 1,
      body: { module_count: 1 },
    });
    expect((await cli(['envoys', 'show', 'web9.a.test'])).code).toBe(7);
  });

  test('runs of all spokes are one list, and each shows its resources', async () => {
    const { items } = await json<List<{ id: string; hostname: string; received_at: string }>>('runs', 'list');
    expect(items.map(({ hostname }) => hostname)).toEqual(['web1.b.test', 'web1.a.test']);
    for (const { id, hostname } of items) expect(await json('runs', 'show', id)).toMatchObject({ hostname, outcomes: [{ name: 'note' }] });
    expect((await json<List<unknown>>('runs', 'list', '--envoy', 'web1.a.test')).items).toHaveLength(1);
  });

  test('runs are seen as they come, from every spoke', async () => {
    const watch = startProgram('vigocli', ['--data-dir', fleet.hub.dataDir, '--json', 'runs', 'watch'], { env: { HOME: fleet.hub.dir } });
    try {
      await eventually(async () => {
        for (const hostname of ['web2.a.test', 'web2.b.test']) await machines.get(hostname)!.open().cycle({ signal, talk: true });
        for (const hostname of ['web2.a.test', 'web2.b.test']) expect(watch.stdout()).toContain(hostname);
      });
    } finally {
      await watch.stop();
    }
  });

  test('a push reaches the envoys of the target, wherever they are', async () => {
    const { queued, envoys } = await json<{ queued: number; envoys: { hostname: string }[] }>('envoys', 'push', 'web1.*');
    expect([queued, envoys.map(({ hostname }) => hostname).sort()]).toEqual([2, ['web1.a.test', 'web1.b.test']]);
    expect(await json('envoys', 'push', 'web1.a.test')).toMatchObject({ queued: 1, complete: true });
    expect((await cli(['envoys', 'push', 'nobody'])).stderr).toContain('NO_TARGETS');
  });

  test('the summary adds up and says what each spoke has', async () => {
    const summary = (await rest(fleetSummary as never)) as { envoys: number; spokes: { id: string; envoys: number }[] };
    expect(summary).toMatchObject({ envoys: 4, live_release: 1, complete: true });
    expect(summary.spokes.map(({ id, envoys }) => [id, envoys])).toEqual([
      ['hub', 0],
      ['a', 2],
      ['b', 2],
    ]);
  });

  test('a revocation is done by the owner, in the name of whoever asked', async () => {
    const { envoyId } = machines.get('web2.b.test')!;
    expect((await cli(['--yes', 'envoys', 'revoke', 'web2.b.test', '--reason', 'lost'])).code).toBe(0);
    const b = fleet.spokes['b']!;
    expect(b.parts.fleet.view(b.parts.fleet.slotOf(envoyId)).revoked).toBe(true);
    const [record] = await b.audit('envoy.revoked');
    expect(record).toMatchObject({ actor: { kind: 'local' }, target: { id: envoyId } });
    await eventually(async () => {
      const { items } = await json<List<{ spoke: string; event: string }>>('audit', 'log', '--event', 'envoy.revoked');
      expect(items).toMatchObject([{ spoke: 'b', event: 'envoy.revoked' }]);
    });
  });

  test('nothing is done for an owner that is away, and nobody says that its envoy does not exist', async () => {
    await fleet.spokes['b']!.stop();
    const refused = await cli(['--yes', 'envoys', 'revoke', 'web1.b.test', '--reason', 'lost']);
    expect([refused.code, refused.stderr]).toEqual([5, expect.stringContaining('SPOKE_UNAVAILABLE')]);
    const list = await cli(['envoys', 'list']);
    expect([list.code, list.stderr]).toEqual([8, expect.stringMatching(/2 of 3 spokes answered/)]);
    expect((await cli(['envoys', 'show', 'web1.a.test'])).code).toBe(0);
    await fleet.spokes['b']!.start();
    await eventually(async () => expect((await cli(['envoys', 'show', 'web1.b.test'])).code).toBe(0), { timeoutMs: 20_000 });
  });
});
