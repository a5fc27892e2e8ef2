/** A hub and its spokes as processes: joined by token, linked, asked and removed by command; each may be killed at any time. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '../harness/eventually.ts';
import { runProgram } from '../harness/process-launcher.ts';
import { makeSite, type Site } from '../harness/site.ts';

const SETTINGS = { enrollment: { token_bcrypt_cost: 10 }, server: { threads: 1 }, spanner: { heartbeat: '500ms' } };
const folder = mkdtempSync(join(tmpdir(), 'vigo-spanner-'));
let hub: Site;
let dc1: Site;
const made: Site[] = [];

interface Spoke {
  readonly id: string;
  readonly state: string;
  readonly link: { readonly state: string; readonly rtt_ms: number | null; readonly reason: string };
  readonly envoys: number | null;
}
interface Status {
  readonly role: string;
  readonly link: Spoke['link'] | null;
  readonly spokes: readonly Spoke[];
}

const statusOf = (site: Site) => site.cliJson<Status>(['spanner', 'status']);
const linkOf = async (id: string) => (await statusOf(hub)).spokes.find((spoke) => spoke.id === id)?.link.state;

/** Exit code and both streams, whatever they are. */
async function tried(site: Site, ...args: string[]) {
  const { code, stdout, stderr } = await runProgram('vigocli', ['--data-dir', site.dataDir, ...args], { env: { HOME: folder } });
  return { code, stdout, stderr };
}

async function tokenFor(id: string, ...flags: string[]): Promise<string> {
  const { token } = await hub.cliJson<{ token: string }>(['spanner', 'spoke', 'add', id, ...flags]);
  const file = join(folder, `${id}.token`);
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return file;
}

async function spokeOf(tokenFile: string, ...flags: string[]): Promise<Site> {
  const init = [
    '--role',
    'spoke',
    '--join-token-file',
    tokenFile,
    ...(flags.length > 0 ? flags : ['--hub-addr', `localhost:${hub.grpcPort}`]),
  ];
  const site = await makeSite({ hostname: 'localhost', settings: SETTINGS, init });
  made.push(site);
  return site;
}

beforeAll(async () => {
  hub = await makeSite({ hostname: 'localhost', settings: SETTINGS, init: ['--role', 'hub'] });
  made.push(hub);
  await hub.start();
  // the first address answers nobody: the second one is taken
  const token = await tokenFor('dc1', '--pattern', '*.dc1.test', '--addr', 'localhost:1530', '--weight', '200', '--label', 'zone=eu');
  dc1 = await spokeOf(token, '--hub-addr', 'localhost:1', '--hub-addr', `localhost:${hub.grpcPort}`);
  await dc1.start();
}, 60_000);
afterAll(async () => {
  for (const site of made.reverse()) await site.remove();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

test('a spoke joins at its first start: own keys, no root, the token gone', async () => {
  await eventually(async () => expect(await linkOf('dc1')).toBe('up'));
  expect(readdirSync(join(dc1.dataDir, 'keys')).sort()).toEqual(['fleet.json', 'server.key', 'ticket.key']);
  expect(readdirSync(join(dc1.dataDir, 'tls'))).not.toContain('root-ca.key');
  expect(existsSync(join(dc1.dataDir, 'join.token'))).toBe(false);
  const [own, hubs] = [dc1, hub].map(
    (site) => JSON.parse(readFileSync(join(site.dataDir, 'keys', 'fleet.json'), 'utf8')) as { fleet_id: string },
  );
  expect(own?.fleet_id).toBe(hubs?.fleet_id);
});

test('both sides tell how the link stands', async () => {
  const spoke = await hub.cliJson<Spoke>(['spanner', 'bolt', 'show', 'dc1']);
  expect(spoke).toMatchObject({
    state: 'active',
    addr: 'localhost:1530',
    weight: 200,
    labels: { zone: 'eu' },
    link: { state: 'up' },
    envoys: 0,
  });
  expect(await statusOf(dc1)).toMatchObject({ role: 'spoke', link: { state: 'up' } });
  expect(await hub.cli(['spanner', 'status'])).toMatch(/^ID +STATE +LINK +RTT +ENVOYS +OFFLINE +CONVERGED% +RELEASE +LAG +SINCE$/m);
  const audit = await hub.cliJson<{ items: { event: string }[] }>(['audit', 'log', '--event', 'spoke.']);
  expect(audit.items.map(({ event }) => event)).toEqual(['spoke.joined', 'spoke.added']);
});

test('a hostname shows its way', async () => {
  expect((await tried(hub, 'spanner', 'route', 'web1.dc1.test')).stdout).toContain('web1.dc1.test -> dc1: pattern *.dc1.test');
  await hub.cli(['spanner', 'spoke', 'set', 'dc1', '--pattern', '*.dc1.test', '--pattern', 'web*', '--weight', '50']);
  expect(await hub.cliJson(['spanner', 'route', 'web9'])).toMatchObject({ spoke: 'dc1' });
  expect(await tried(hub, 'spanner', 'route', 'x.dc2.test')).toMatchObject({
    code: 7,
    stdout: expect.stringContaining('no pattern matches'),
  });
});

describe('commands of the hub elsewhere', () => {
  test.each([
    ['list', ['spanner', 'spoke', 'list']],
    ['add', ['spanner', 'spoke', 'add', 'x']],
    ['route', ['spanner', 'route', 'x']],
    ['publish', ['config', 'publish', '-m', 'x', '--yes']],
  ])('%s at a spoke: ask the hub', async (_name, args) => {
    expect(await tried(dc1, ...args)).toMatchObject({ code: 4, stderr: expect.stringContaining('[ASK_HUB]') });
  });

  test('at a stand-alone server: there are no spokes', async () => {
    const alone = await makeSite({ hostname: 'localhost', settings: { enrollment: SETTINGS.enrollment } });
    made.push(alone);
    await alone.start();
    for (const args of [['status'], ['spoke', 'list'], ['spoke', 'add', 'x']])
      expect(await tried(alone, 'spanner', ...args)).toMatchObject({ code: 1, stderr: expect.stringContaining('stand-alone') });
    await alone.stop();
  });
});

describe('joins that cannot be', () => {
  const startFails = async (site: Site) => {
    const { code, stderr } = await runProgram('vigosrv', ['--data-dir', site.dataDir, '--allow-root', 'run'], { env: { HOME: folder } });
    return { code, stderr };
  };

  test('with a token that another server used', async () => {
    const token = await tokenFor('dc2', '--pattern', '*.dc2.test');
    const first = await spokeOf(token);
    await first.start();
    const second = await spokeOf(token);
    expect(await startFails(second)).toMatchObject({ code: 1, stderr: expect.stringContaining('TOKEN_ALREADY_SPENT') });
    // its token stays, for a person to look at
    expect(existsSync(join(second.dataDir, 'join.token'))).toBe(true);
    await first.stop();
  });

  test('at a server that does not hold the pinned root', async () => {
    const text = readFileSync(await tokenFor('dc3'), 'utf8').trim();
    const parts = text.split('_');
    const file = join(folder, 'bad.token');
    writeFileSync(file, [parts[0], parts[1], parts[2], '0'.repeat(64), ...parts.slice(4)].join('_'), { mode: 0o600 });
    expect(await startFails(await spokeOf(file))).toMatchObject({ stderr: expect.stringContaining('CA_PIN_MISMATCH') });
  });

  test('without a token', async () => {
    const site = await spokeOf(await tokenFor('dc4'));
    rmSync(join(site.dataDir, 'join.token'));
    expect(await startFails(site)).toMatchObject({ code: 3, stderr: expect.stringContaining('spoke add dc4') });
  });
});

describe('when one of them dies', () => {
  test('a killed spoke is unreachable, and linked again after its start, by the keys it has', async () => {
    await dc1.kill();
    await eventually(async () => expect(await linkOf('dc1')).toBe('down'));
    expect(await hub.cli(['spanner', 'status'])).toMatch(/^dc1 +active +unreachable/m);
    await dc1.start();
    await eventually(async () => expect(await linkOf('dc1')).toBe('up'));
  });

  test('a spoke serves alone while the hub is gone, and finds it again', async () => {
    await hub.kill();
    await eventually(async () => expect((await statusOf(dc1)).link?.state).toBe('down'));
    await dc1.stop();
    await dc1.start();
    expect((await statusOf(dc1)).role).toBe('spoke');
    await hub.start();
    await eventually(async () => expect(await linkOf('dc1')).toBe('up'), { timeoutMs: 20_000 });
  });

  test('a spoke that was removed is out, and says so', async () => {
    expect(await tried(hub, 'spanner', 'spoke', 'remove', 'dc1', '--yes')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('DRAIN_NOT_EMPTY'),
    });
    await tokenFor('dc5');
    expect(await hub.cliJson(['spanner', 'spoke', 'remove', 'dc5', '--yes'])).toMatchObject({ id: 'dc5', status: 'removed' });
    expect(await tried(hub, 'spanner', 'spoke', 'show', 'dc5')).toMatchObject({ code: 7 });
  });
});
