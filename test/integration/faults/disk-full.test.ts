/** A disk that fills up under the server, and one under an agent: it is said, nothing acknowledged is lost, and everything goes on when there is room again. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { eventually } from '../../harness/eventually.ts';
import { makeSite, type Site } from '../../harness/site.ts';
import { runsOf, type SiteAgent, siteAgent, tokenFor } from '../../harness/site-agent.ts';
import { smallDisk } from '../../harness/small-disk.ts';

jest.setTimeout(120_000);
const folder = mkdtempSync(join(tmpdir(), 'vigo-full-'));
const tree = join(folder, 'tree');
const marks = (hostname: string) => join(folder, `marks-${hostname}`);
const serverDisk = smallDisk(48);
const agentDisk = smallDisk(12);
const why = 'reason' in serverDisk ? serverDisk.reason : 'reason' in agentDisk ? agentDisk.reason : undefined;
const disks =
  why === undefined
    ? {
        server: serverDisk as Exclude<typeof serverDisk, { reason: string }>,
        agent: agentDisk as Exclude<typeof agentDisk, { reason: string }>,
      }
    : undefined;
// said in the name, so that the skipped test says why
const onSmallDisks = (name: string, run: () => Promise<void>) =>
  disks === undefined ? test.skip(`${name} (${why})`, run) : test(name, run);

let site: Site;
let agent: SiteAgent;
let late: SiteAgent;
let cramped: SiteAgent;
const managed = () => join(disks!.agent.path, 'managed');

function stage(word: string, into: string): void {
  for (const name of ['modules', 'templates']) mkdirSync(join(into, name), { recursive: true });
  for (const [name, modules] of [
    ['web1', '[marks]'],
    ['late1', '[marks]'],
    ['cramped1', '[marks, big]'],
  ] as const)
    writeFileSync(join(into, `${name}.vgo`), `match: ${name}\nmodules: ${modules}\nvars: { marks: ${marks(name)} }\n`);
  writeFileSync(
    join(into, 'modules', 'marks.vgo'),
    `name: marks\nresources:\n  - { name: mark, type: exec, command: "echo run >> {{ .Vars.marks }}", onlyif: "true" }\n`,
  );
  writeFileSync(
    join(into, 'modules', 'big.vgo'),
    `name: big\nresources:\n  - { name: big, type: file, target_path: ${managed()}, source: templates/big.txt }\n`,
  );
  writeFileSync(join(into, 'templates', 'big.txt'), `${word}\n`.repeat(200_000));
}

beforeAll(async () => {
  if (disks === undefined) return;
  stage('old', tree);
  site = await makeSite({
    hostname: 'localhost',
    top: disks.server.path,
    tree,
    settings: { checkin: { interval: '5s' }, enrollment: { token_bcrypt_cost: 10 }, database: { flush_interval: '1s' } },
  });
  await site.start();
  await site.cli(['config', 'publish', '--yes', '--dangerous']);
  const flags = ['--result-cache-cycles', '0'];
  agent = siteAgent(site, 'web1', await tokenFor(site, 'web1'), { folder, flags });
  late = siteAgent(site, 'late1', await tokenFor(site, 'late1'), { folder });
  cramped = siteAgent(site, 'cramped1', await tokenFor(site, 'cramped1'), { folder, flags, stateDir: join(disks.agent.path, 'state') });
  await Promise.all([agent.register(), cramped.register()]);
}, 90_000);
afterAll(async () => {
  await Promise.all([agent?.stop(), cramped?.stop()]);
  await site?.stop();
  disks?.server.remove();
  disks?.agent.remove();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

/** whole, in one version; without a diff of two large texts at each try */
const managedIs = (word: string) => existsSync(managed()) && readFileSync(managed(), 'utf8') === `${word}\n`.repeat(200_000);
const lines = (file: string) => (existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n').length : 0);

onSmallDisks('the disk of the server is full: enrolments and reports are refused by name, wait, and arrive once', async () => {
  await agent.start();
  await eventually(async () => expect((await runsOf(site, 'web1')).length).toBeGreaterThan(0), { timeoutMs: 30_000, everyMs: 500 });
  disks!.server.fill();
  // an enrolment tries again by itself
  const enrolling = late.register();
  await eventually(
    () => {
      agent.wake();
      expect(agent.log()).toContain('"code":"STORE_FULL"');
    },
    { timeoutMs: 40_000, everyMs: 1000 },
  );
  // the server is up, answers check-ins, and says what is wrong
  expect((await site.cli(['envoys', 'list'])).includes('web1')).toBe(true);
  expect(site.log()).toContain('disk');
  await expect(site.cli(['tokens', 'create', '--pattern', 'x'])).rejects.toThrow(/STORE_FULL|RATE/);
  disks!.server.free();
  await enrolling;
  agent.wake();
  await eventually(
    async () => {
      const marked = lines(marks('web1'));
      const runs = await runsOf(site, 'web1');
      expect(runs.length).toBe(marked);
      expect(runs.length).toBeGreaterThan(2);
      expect(new Set(runs.map(({ id }) => id)).size).toBe(runs.length);
    },
    { timeoutMs: 30_000, everyMs: 300 },
  );
  expect((await agent.stop())?.code).toBe(0);
  expect((await site.cliJson<{ items: { hostname: string }[] }>(['envoys', 'list'])).items.map(({ hostname }) => hostname).sort()).toEqual([
    'cramped1',
    'late1',
    'web1',
  ]);
  expect((await site.cliJson<{ items: unknown[] }>(['audit', 'log', '--event', 'token.spent', '--limit', '50'])).items).toHaveLength(3);
  await site.cli(['audit', 'verify']);
});

onSmallDisks('the disk of an agent is full: it lives, says so, goes on enforcing, and tells everything afterwards', async () => {
  await cramped.start();
  await eventually(() => expect(managedIs('old')).toBe(true), { timeoutMs: 30_000 });
  disks!.agent.fill();
  stage('new', join(site.dataDir, 'stacks'));
  await site.cli(['config', 'publish', '--yes', '--dangerous']);
  const before = lines(marks('cramped1'));
  for (let round = 0; round < 3; round++) {
    const cycles = lines(marks('cramped1'));
    cramped.wake();
    // enforcement goes on
    await eventually(() => expect(lines(marks('cramped1'))).toBeGreaterThan(cycles), { timeoutMs: 20_000 });
    expect(managedIs('old')).toBe(true);
  }
  expect(cramped.log()).toContain('"code":"STORE_FULL"');
  disks!.agent.free();
  cramped.wake();
  await eventually(() => expect(managedIs('new')).toBe(true), { timeoutMs: 30_000 });
  await eventually(
    async () => {
      cramped.wake();
      const runs = await runsOf(site, 'cramped1');
      expect(runs.length).toBe(lines(marks('cramped1')));
      expect(runs.length).toBeGreaterThan(before + 3);
    },
    { timeoutMs: 30_000, everyMs: 1000 },
  );
  expect(cramped.log()).not.toMatch(/unhandled|uncaught/i);
  expect((await cramped.stop())?.code).toBe(0);
});
