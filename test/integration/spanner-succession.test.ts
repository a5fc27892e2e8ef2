/** A stand-alone server with an envoy becomes a spoke of a hub: the envoy follows by itself, with its id, its history and its policy; strangers' words are not believed. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { eventually } from '../harness/eventually.ts';
import { runProgram } from '../harness/process-launcher.ts';
import { makeSite, type Site } from '../harness/site.ts';
import { runsOf, type SiteAgent, siteAgent, tokenFor } from '../harness/site-agent.ts';

jest.setTimeout(120_000);

const SETTINGS = { enrollment: { token_bcrypt_cost: 10 }, checkin: { interval: '5s' } };
const SPANNER = { ...SETTINGS, spanner: { heartbeat: '500ms' } };
const HOST = 'web1.dc1.test';
const folder = mkdtempSync(join(tmpdir(), 'vigo-succession-'));
const target = join(folder, 'managed');
let alone: Site;
let hub: Site;
let agent: SiteAgent;
let tree = '';

/** A tree of one module that writes one file. */
function treeWith(content: string): string {
  const at = mkdtempSync(join(folder, 'tree-'));
  mkdirSync(join(at, 'modules'));
  writeFileSync(join(at, 'all.vgo'), 'match: "*"\nmodules: [web]\n');
  writeFileSync(
    join(at, 'modules', 'web.vgo'),
    `name: web\nresources:\n  - { name: mark, type: file, target_path: "${target}", content: "${content}" }\n`,
  );
  return at;
}

beforeAll(async () => {
  tree = treeWith('first');
  alone = await makeSite({ hostname: 'localhost', settings: SETTINGS, tree });
  hub = await makeSite({ hostname: 'localhost', settings: SPANNER, init: ['--role', 'hub'], tree: treeWith('second') });
  await alone.start();
  await hub.start();
  agent = siteAgent(alone, HOST, await tokenFor(alone, HOST), { folder });
  await agent.register();
}, 90_000);
afterAll(async () => {
  await agent.stop();
  await alone.remove();
  await hub.remove();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

const join_ = (...flags: string[]) =>
  runProgram('vigosrv', ['--data-dir', alone.dataDir, '--allow-root', 'join', ...flags], { env: { HOME: folder } });
const idOf = async (site: Site) =>
  (await site.cliJson<{ items: { id: string; hostname: string }[] }>(['envoys', 'list'])).items.find(({ hostname }) => hostname === HOST)
    ?.id;

test('the envoy follows its server into the fleet of the hub', async () => {
  await alone.cli(['config', 'publish', '-m', 'first', '--yes']);
  await agent.start();
  await eventually(() => expect(readFileSync(target, 'utf8')).toBe('first'), { timeoutMs: 30_000 });
  await eventually(async () => expect((await runsOf(alone, HOST)).length).toBeGreaterThan(0), { timeoutMs: 30_000 });
  const id = await idOf(alone);

  const { token } = await hub.cliJson<{ token: string }>([
    'spanner',
    'spoke',
    'add',
    'dc1',
    '--pattern',
    '*.dc1.test',
    '--addr',
    `localhost:${alone.grpcPort}`,
  ]);
  const file = join(folder, 'dc1.token');
  writeFileSync(file, token, { mode: 0o600 });
  const flags = ['--hub-addr', `localhost:${hub.grpcPort}`, '--hub-token-file', file];
  expect(await join_(...flags)).toMatchObject({ code: 4, stderr: expect.stringContaining('DATA_DIR_LOCKED') });
  await alone.stop();
  expect(await join_(...flags)).toMatchObject({ code: 0, stdout: expect.stringContaining('the spoke dc1') });
  expect(existsSync(file)).toBe(false);
  expect(existsSync(join(alone.dataDir, 'keys', 'root.key'))).toBe(false);
  await alone.start();
  await eventually(async () => {
    const { spokes } = await hub.cliJson<{ spokes: { id: string; link: { state: string } }[] }>(['spanner', 'status']);
    expect(spokes.find((spoke) => spoke.id === 'dc1')?.link.state).toBe('up');
  });
  // another publish of the hub reaches the envoy, which still has the keys it was enrolled with
  await hub.cli(['config', 'publish', '-m', 'second', '--yes']);
  agent.wake();
  await eventually(
    () => {
      agent.wake();
      expect(readFileSync(target, 'utf8')).toBe('second');
    },
    { timeoutMs: 60_000, everyMs: 1_000 },
  );
  expect(await idOf(alone)).toBe(id);
  expect(agent.log()).toContain('the fleet of this envoy was succeeded by another');
  const fleet = (site: Site) =>
    (JSON.parse(readFileSync(join(site.dataDir, 'keys', 'fleet.json'), 'utf8')) as { fleet_id: string }).fleet_id;
  expect(readFileSync(join(agent.configDir, 'config'), 'utf8')).toContain(`fleet_id = ${fleet(hub)}`);
  // its history is one, and verifies over the change
  expect(await alone.cliJson(['audit', 'verify'])).toMatchObject({ findings: [] });
  await agent.stop();
  await agent.start();
  await eventually(
    async () => {
      const [newest] = await runsOf(alone, HOST);
      expect(Date.now() - Date.parse(newest!.received_at)).toBeLessThan(5_000);
    },
    { timeoutMs: 30_000 },
  );
});
