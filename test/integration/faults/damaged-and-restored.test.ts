/** Files that are damaged, an agent put back to an older state, clocks that are a year off: told plainly, never a silent start from nothing, never for good. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { checkIn } from '../../../agent/check-in.ts';
import { GrpcLink } from '../../../agent/link/grpc-link.ts';
import { Home } from '../../../agent/link/home.ts';
import { Sequence } from '../../../agent/link/sequence.ts';
import { TrustStore } from '../../../agent/link/trust.ts';
import { openStateStore } from '../../../agent/state/lmdb-state-store.ts';
import { type Clock, systemClock } from '../../../core/base/clock.ts';
import { idBytes } from '../../../core/base/ids.ts';
import { signFor } from '../../../core/crypto/domain.ts';
import { signingKeyFromSeed } from '../../../core/crypto/ed25519.ts';
import { codecs } from '../../../proto/load.ts';
import { FleetIndex } from '../../../server/fleet/fleet-index.ts';
import { Authenticator } from '../../../server/rpc/authenticate.ts';
import { eventually } from '../../harness/eventually.ts';
import { makeSite, type Site } from '../../harness/site.ts';
import { runsOf, type SiteAgent, siteAgent, tokenFor } from '../../harness/site-agent.ts';
import { type TestEnvoy, TestSite, testRelease } from '../../harness/test-site.ts';

jest.setTimeout(120_000);
const YEAR = 365 * 86_400_000;
const folder = mkdtempSync(join(tmpdir(), 'vigo-damaged-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A clock that is off by what the test says. */
function skewed(): Clock & { offMs: number } {
  const clock = { ...systemClock, offMs: 0, now: () => Date.now() + clock.offMs };
  return clock;
}

describe('a machine put back, and files damaged', () => {
  let site: Site;
  let agent: SiteAgent;
  const once = join(folder, 'once');
  const database = () => join(site.dataDir, 'db', 'vigo.db');
  const state = () => join(agent.stateDir, 'state');

  beforeAll(async () => {
    site = await makeSite({
      hostname: 'localhost',
      settings: { enrollment: { token_bcrypt_cost: 10 }, database: { flush_interval: '1s' } },
    });
    const stage = join(site.dataDir, 'stacks');
    rmSync(stage, { recursive: true });
    cpSync(join(import.meta.dirname, '../../../deploy/config-demo/environments.vgo'), join(stage, 'environments.vgo'));
    cpSync(join(import.meta.dirname, '../../../deploy/config-demo/modules/motd.vgo'), join(stage, 'modules', 'unused.vgo.example'));
    writeFileSync(join(stage, 'all.vgo'), 'match: "*"\nmodules: [once]\n');
    writeFileSync(
      join(stage, 'modules', 'once.vgo'),
      `name: once\nresources:\n  - { name: once, type: exec, command: "echo done >> ${once}", creates: ${once} }\n`,
    );
    await site.start();
    await site.cli(['config', 'publish', '--yes', '--dangerous']);
    agent = siteAgent(site, 'web1', await tokenFor(site, 'web1'), { folder });
    await agent.register();
  });
  afterAll(() => site?.remove());

  test('an older copy of the state: the server says so, the agent goes on, nothing is applied twice', async () => {
    // the state before anything was applied, with its requests and its policy
    const first = await agent.vigo('run', '--dry-run');
    expect([first.code, existsSync(once)]).toEqual([0, false]);
    cpSync(state(), join(folder, 'copy'), { recursive: true });
    writeFileSync(
      join(site.dataDir, 'stacks', 'modules', 'once.vgo'),
      readFileSync(join(site.dataDir, 'stacks', 'modules', 'once.vgo'), 'utf8').replace('name: once, type', 'name: once again, type'),
    );
    for (let round = 0; round < 3; round++) expect((await agent.vigo('run')).code).toBe(0);
    await site.cli(['config', 'publish', '--yes', '--dangerous']);
    // the second of them tells the server what the first one took
    for (let round = 0; round < 2; round++) expect((await agent.vigo('run')).code).toBe(0);
    expect(readFileSync(once, 'utf8')).toBe('done\n');
    const before = (await runsOf(site, 'web1')).length;
    rmSync(state(), { recursive: true });
    cpSync(join(folder, 'copy'), state(), { recursive: true });
    const back = await agent.vigo('run');
    expect([back.code, back.stderr]).toEqual([0, expect.not.stringContaining('could not be used')]);
    await eventually(() => expect(site.log()).toContain('"event":"envoy.state_regressed"'));
    expect(readFileSync(once, 'utf8')).toBe('done\n');
    const runs = await runsOf(site, 'web1');
    expect(runs.length).toBe(before + 1);
    expect((await agent.vigo('status')).stdout).toContain('Enforcing:        release 2');
  });

  test('a state that is gone altogether is made anew from the policy of the server', async () => {
    rmSync(state(), { recursive: true });
    expect((await agent.vigo('run')).code).toBe(0);
    expect(readFileSync(once, 'utf8')).toBe('done\n');
  });

  test.each<[string, (file: string) => void]>([
    ['garbage', (file) => writeFileSync(file, Buffer.alloc(100_000, 'garbage'))],
    ['empty', (file) => truncateSync(file, 0)],
    ['cut in half', (file) => truncateSync(file, Math.floor(readFileSync(file).length / 2 / 4096) * 4096)],
    ['cut to a few bytes', (file) => truncateSync(file, 30)],
  ])('the state of the agent is %s: an error with a way out, and the file stays as it is', async (_, damage) => {
    const file = join(state(), 'data.mdb');
    const good = readFileSync(file);
    damage(file);
    const bad = readFileSync(file);
    const run = await agent.vigo('run');
    expect([run.code, run.stderr]).toEqual([expect.any(Number), expect.stringMatching(/damaged[\s\S]*mv /)]);
    expect(run.code).toBeGreaterThan(0);
    expect((await agent.vigo('status')).stdout).toContain('(state store unavailable');
    expect(readFileSync(file).equals(bad)).toBe(true);
    writeFileSync(file, good);
    expect((await agent.vigo('run')).code).toBe(0);
  });

  test.each<[string, (file: string) => void]>([
    ['garbage', (file) => writeFileSync(file, Buffer.alloc(100_000, 'garbage'))],
    ['empty', (file) => truncateSync(file, 0)],
    ['gone', (file) => rmSync(file)],
    ['cut in half', (file) => truncateSync(file, Math.floor(readFileSync(file).length / 2 / 4096) * 4096)],
    [
      'with pages overwritten',
      (file) => {
        const bytes = readFileSync(file);
        for (let page = 1; page * 4096 < bytes.length; page += 2) bytes.fill(0x5a, page * 4096, (page + 1) * 4096);
        writeFileSync(file, bytes);
      },
    ],
  ])('the database of the server is %s: exit 7 with a way out, nothing is made anew', async (_, damage) => {
    await site.stop();
    const good = readFileSync(database());
    damage(database());
    const bad = existsSync(database()) ? readFileSync(database()) : undefined;
    await expect(site.start()).rejects.toThrow(/ended with 7[\s\S]*STATE_DAMAGED[\s\S]*backups/);
    expect(existsSync(database()) ? readFileSync(database()).equals(bad!) : bad === undefined).toBe(true);
    await site.stop();
    writeFileSync(database(), good);
    await site.start();
    expect((await site.cliJson<{ items: unknown[] }>(['envoys', 'list'])).items).toHaveLength(1);
  });
});

describe('clocks a year off', () => {
  const site = new TestSite();
  beforeAll(async () => {
    await site.init();
    await site.start();
    await site.server.parts.releases.use(testRelease(1, { note: 'a' }));
  });
  afterAll(() => site.close());

  function withClock(envoy: TestEnvoy, clock: Clock) {
    const { identity, trust, state } = envoy;
    const sequence = new Sequence(state.facts, clock.now());
    const link = new GrpcLink({
      identity,
      trust,
      sequence,
      clock: { ...clock, now: () => clock.now() },
      version: '0',
      home: new Home({ enrolled: identity, configured: site.configured, trust, state, log: site.log }),
    });
    const talk = async (): Promise<string> =>
      (
        await checkIn(
          { identity, trust, state, link, clock, log: site.log, dryRun: false, headerAgeMs: () => 0 },
          { os: {} },
          AbortSignal.timeout(8_000),
        )
      ).kind;
    return { link, talk, state };
  }

  test.each([
    ['ahead', YEAR],
    ['behind', -YEAR],
  ])('an agent a year %s gets its policy by the time of the server, is not stale for that, and gets no_change', async (name, offMs) => {
    const envoy = await site.enroll(`clock-${name}`);
    const clock = skewed();
    clock.offMs = offMs;
    const { link, talk, state } = withClock(envoy, clock);
    expect(await talk()).toBe('bundle');
    expect(Math.abs(link.clockOffsetMs + offMs)).toBeLessThan(5_000);
    expect(await talk()).toBe('no_change');
    expect(Math.abs((state.facts.get('clockSkewMs') ?? 0) + offMs)).toBeLessThan(5_000);
    // the clock is put right, and wrong the other way: found out each time
    clock.offMs = 0;
    expect(['no_change', 'renew']).toContain(await talk());
    clock.offMs = -offMs;
    expect(['no_change', 'renew', 'bundle']).toContain(await talk());
    expect(state.policy.held()?.body?.body.vars).toEqual({ note: 'a' });
    link.close();
  });

  test('an agent that was once a year ahead and lost its state is not refused for a year', async () => {
    const envoy = await site.enroll('clock-lost');
    const clock = skewed();
    clock.offMs = YEAR;
    const ahead = withClock(envoy, clock);
    expect(await ahead.talk()).toBe('bundle');
    ahead.link.close();
    const state = openStateStore(join(folder, 'made-anew'));
    const trust = new TrustStore({ rootPublicKey: envoy.identity.rootPublicKey, fleetId: envoy.identity.fleetId, facts: state.facts });
    const again = withClock({ ...envoy, state, trust }, systemClock);
    expect(await again.talk()).toBe('bundle');
    again.link.close();
    await state.close();
  });

  test('a server whose clock is put back after its start takes requests all the same, and none from before', () => {
    const key = signingKeyFromSeed(Buffer.alloc(32, 3));
    const id = '01980000-0000-7000-8000-0000000000aa';
    const fleet = new FleetIndex();
    fleet.insert({ id: id as never, hostname: 'a', identityKey: key.publicKey, status: 'active', ownerEpoch: 1 });
    let [now, monotonic] = [Date.now() + YEAR, 0];
    const clock: Clock = { now: () => now, monotonic: () => monotonic, sleep: () => Promise.resolve() };
    const site = { fleetId: idBytes(id), siteId: 'main', epoch: 1, startedAt: now };
    const authenticator = new Authenticator(fleet.columns, site, clock);
    let sequence = 1;
    const at = (sent: number) => {
      const header = {
        fleet_id: idBytes(id),
        envoy_id: idBytes(id),
        audience: 'main',
        highest_epoch: 0,
        owner_epoch: 1,
        sequence: sequence++,
        sent_at_ms: sent,
      };
      const payload = codecs.checkInRequest.encode({ header, protocol: 1, mode: 'enforce' });
      const request = codecs.signedRequest.encode({ payload, signature: signFor('checkIn', key, payload) });
      try {
        return authenticator.authenticate('checkIn', request, idBytes(id)).retry;
      } catch (thrown) {
        return (thrown as { code: string }).code;
      }
    };
    expect(at(now)).toBe(false);
    expect(at(now - 1000)).toBe('RETRY_FRESH');
    now -= YEAR;
    monotonic += 60_000;
    expect(at(now)).toBe(false);
    expect(at(now - 61_000)).toBe('RETRY_FRESH');
    now += 2 * YEAR;
    expect(at(now)).toBe(false);
  });
});
