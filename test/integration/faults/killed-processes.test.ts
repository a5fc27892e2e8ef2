/** Server and agents killed with -9 at any moment, under load: what was acknowledged is there, once, and everybody goes on by himself. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { readEnvoyId } from '../../../agent/enroll/identity.ts';
import { openStateStore } from '../../../agent/state/lmdb-state-store.ts';
import { eventually } from '../../harness/eventually.ts';
import { makeSite, type Site } from '../../harness/site.ts';
import { runsOf, type SiteAgent, siteAgent, tokenFor } from '../../harness/site-agent.ts';

jest.setTimeout(180_000);
const folder = mkdtempSync(join(tmpdir(), 'vigo-killed-'));
const tree = join(folder, 'tree');
const marks = (name: string) => join(folder, `marks-${name}`);
const WORKERS = ['w1', 'w2', 'w3'];
const agents: SiteAgent[] = [];
let site: Site;

beforeAll(async () => {
  mkdirSync(join(tree, 'modules'), { recursive: true });
  for (const name of [...WORKERS, 'victim'])
    writeFileSync(join(tree, `${name}.vgo`), `match: ${name}\nmodules: [marks]\nvars: { marks: ${marks(name)} }\n`);
  writeFileSync(join(tree, 'late.vgo'), 'match: "late*"\nmodules: []\n');
  writeFileSync(
    join(tree, 'modules', 'marks.vgo'),
    `name: marks\nresources:\n  - { name: mark, type: exec, command: "echo run >> {{ .Vars.marks }}", onlyif: "true" }\n  - { name: wait, type: exec, command: "sleep 0.3", onlyif: "true" }\n`,
  );
  site = await makeSite({
    hostname: 'localhost',
    tree,
    settings: { checkin: { interval: '5s' }, enrollment: { token_bcrypt_cost: 10 }, database: { flush_interval: '1s' } },
  });
  await site.start();
  await site.cli(['config', 'publish', '--yes', '--dangerous']);
  for (const name of [...WORKERS, 'victim'])
    agents.push(siteAgent(site, name, await tokenFor(site, name), { folder, flags: ['--result-cache-cycles', '0'] }));
  await Promise.all(agents.map((agent) => agent.register()));
}, 120_000);
afterAll(async () => {
  await Promise.all(agents.map((agent) => agent.kill()));
  await site?.remove();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

const lines = (name: string) => (existsSync(marks(name)) ? readFileSync(marks(name), 'utf8').trimEnd().split('\n').length : 0);
const seqs = (names: readonly string[]) =>
  Object.fromEntries(
    names.map((name) => {
      const db = new Sqlite(join(site.dataDir, 'db', 'vigo.db'), { readonly: true });
      const row = db.prepare('select sequence, held_seq from envoy_state join envoys using (id) where hostname = ?').get(name) as {
        sequence: number;
        held_seq: number;
      };
      db.close();
      return [name, row];
    }),
  );

test('the server killed under load, in flushes and in enrolments', async () => {
  const workers = agents.filter(({ hostname }) => WORKERS.includes(hostname));
  await Promise.all(workers.map((agent) => agent.start()));
  const acknowledged = new Map<string, string>();
  const lates: SiteAgent[] = [];
  let before = seqs(WORKERS);
  for (let round = 0; round < 3; round++) {
    const fresh = await Promise.all(
      Array.from({ length: 3 }, async (_, index) => {
        const name = `late${round}${index}`;
        return siteAgent(site, name, await tokenFor(site, name), { folder });
      }),
    );
    lates.push(...fresh);
    const enrolling = fresh.map((agent) => agent.register());
    const said = Promise.allSettled(enrolling);
    for (const agent of workers) agent.wake();
    await sleep(900 + round * 350);
    await site.kill();
    for (const { hostname, configDir } of lates) {
      const id = readEnvoyId(configDir);
      if (id !== undefined) acknowledged.set(hostname, id);
    }
    await site.start();
    // who got no answer asks again with the same keys and the same token
    await said;
    await Promise.all(fresh.filter(({ configDir }) => readEnvoyId(configDir) === undefined).map((agent) => agent.register()));
    const after = seqs(WORKERS);
    for (const name of WORKERS) expect(after[name]?.sequence ?? 0).toBeGreaterThanOrEqual(before[name]?.sequence ?? 0);
    before = after;
  }
  await site.cli(['audit', 'verify']);
  const { items } = await site.cliJson<{ items: { hostname: string; id: string; status: string }[] }>(['envoys', 'list', '--limit', '100']);
  const listed = new Map(items.filter(({ status }) => status === 'active').map(({ hostname, id }) => [hostname, id]));
  // each name once, and with the id that its machine was told
  expect(items).toHaveLength(WORKERS.length + 1 + 9);
  for (const [hostname, id] of acknowledged) expect([hostname, listed.get(hostname)]).toEqual([hostname, id]);
  for (const { hostname, configDir } of lates) expect(listed.get(hostname)).toBe(readEnvoyId(configDir));
  const spent = await site.cliJson<{ items: unknown[] }>(['audit', 'log', '--event', 'token.spent', '--limit', '100']);
  expect(spent.items).toHaveLength(items.length);
  // every run arrives, once
  await eventually(
    async () => {
      for (const agent of workers) agent.wake();
      for (const name of WORKERS) {
        const runs = await runsOf(site, name);
        expect(new Set(runs.map(({ id }) => id)).size).toBe(runs.length);
        expect(runs.filter(({ changed }) => changed > 0)).toHaveLength(lines(name));
        expect(runs.length).toBeGreaterThan(3);
      }
    },
    { timeoutMs: 60_000, everyMs: 1500 },
  );
  await Promise.all(workers.map((agent) => agent.stop()));
  // the database holds together and the header sequence did not go back
  const db = new Sqlite(join(site.dataDir, 'db', 'vigo.db'), { readonly: true });
  expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
  db.close();
});

test('an agent killed at any moment: no torn state, no run lost or told twice, the broken one told as aborted', async () => {
  const victim = agents.find(({ hostname }) => hostname === 'victim')!;
  let seed = 7;
  const random = () => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  for (let round = 0; round < 6; round++) {
    const running = await victim.start();
    // one that holds a policy spreads its first cycle over the interval: it is woken
    await sleep(50);
    victim.wake();
    const kills = lines('victim');
    if (round % 2 === 0) await eventually(() => expect(lines('victim')).toBeGreaterThan(kills), { timeoutMs: 20_000, everyMs: 5 });
    await sleep(Math.floor(random() * 500));
    running.kill('SIGKILL');
    await victim.kill();
    const state = openStateStore(join(victim.stateDir, 'state'));
    expect(state.results.pending(100, 1e9).length).toBe(state.results.count());
    await state.close();
  }
  await victim.start();
  await eventually(
    async () => {
      victim.wake();
      const runs = await runsOf(site, 'victim');
      const aborted = runs.filter(({ partial }) => partial === 'aborted');
      expect(new Set(runs.map(({ id }) => id)).size).toBe(runs.length);
      // every line is a run that was told: as it went, or as aborted
      expect(runs.length).toBeGreaterThanOrEqual(lines('victim'));
      expect(runs.filter(({ changed }) => changed > 0).length + aborted.length).toBe(runs.length);
      expect(aborted.length).toBeGreaterThan(0);
    },
    { timeoutMs: 40_000, everyMs: 1000 },
  );
  expect((await victim.stop())?.code).toBe(0);
});

test('the server away for a while: agents go on, and every run arrives once with the time at which it was', async () => {
  const [agent] = agents.filter(({ hostname }) => hostname === 'w1');
  await agent!.start();
  await eventually(async () => expect((await runsOf(site, 'w1')).filter(({ changed }) => changed > 0)).toHaveLength(lines('w1')), {
    timeoutMs: 20_000,
    everyMs: 500,
  });
  await site.stop();
  const gone = Date.now();
  const before = lines('w1');
  for (let round = 0; round < 3; round++) {
    const done = lines('w1');
    agent!.wake();
    await eventually(() => expect(lines('w1')).toBeGreaterThan(done), { timeoutMs: 20_000 });
  }
  const back = Date.now();
  await site.start();
  await eventually(
    async () => {
      agent!.wake();
      const runs = await runsOf(site, 'w1');
      expect(runs.filter(({ changed }) => changed > 0)).toHaveLength(lines('w1'));
      const offline = runs.filter(
        ({ started_at: at, received_at: received }) => Date.parse(at) > gone && Date.parse(at) < back && Date.parse(received) >= back,
      );
      expect(offline.length).toBeGreaterThanOrEqual(lines('w1') > before ? 3 : 4);
    },
    { timeoutMs: 40_000, everyMs: 1000 },
  );
  expect((await agent!.stop())?.code).toBe(0);
});
