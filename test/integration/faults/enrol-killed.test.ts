/** Hub or spoke dies in the middle of an enrolment: the keys that began it end with one envoy, everybody else with none. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { enrollKeys } from '../../../agent/enroll/identity.ts';
import { newSigningKey } from '../../../core/crypto/ed25519.ts';
import { eventually } from '../../harness/eventually.ts';
import { enrolRequest, post } from '../../harness/hub-and-spokes.ts';
import { type Running, runProgram, startProgram } from '../../harness/process-launcher.ts';
import { makeSite, type Site } from '../../harness/site.ts';

const SETTINGS = {
  enrollment: { token_bcrypt_cost: 10 },
  server: { threads: 1 },
  spanner: { heartbeat: '300ms' },
};
const folder = mkdtempSync(join(tmpdir(), 'vigo-enrol-'));
let csr = '';
let names = 0;

/** A server that may be told to die at a place. */
class Mortal {
  readonly site: Site;
  #running: Running | undefined;

  constructor(site: Site) {
    this.site = site;
  }

  get api(): string {
    return `https://localhost:${this.site.apiPort}`;
  }

  get dataDir(): string {
    return this.site.dataDir;
  }

  async start(failpoints = ''): Promise<void> {
    const env = { HOME: folder, ...(failpoints === '' ? {} : { VIGO_FAILPOINTS: failpoints }) };
    this.#running = startProgram(
      'vigosrv',
      ['--data-dir', this.dataDir, '--allow-root', 'run', ...(failpoints === '' ? [] : ['--failpoints'])],
      { env },
    );
    await this.#running.printed('the server is up', 30_000);
  }

  async died(): Promise<void> {
    await this.#running?.finished;
  }

  async restart(failpoints = ''): Promise<void> {
    await this.#running?.stop();
    await this.start(failpoints);
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
    await this.site.remove();
  }

  async token(...flags: string[]): Promise<string> {
    const { items } = await this.site.cliJson<{ items: { token: string }[] }>(['tokens', 'create', '--pattern', '*', ...flags]);
    return items[0]!.token;
  }

  async envoys(hostname: string): Promise<number> {
    const { items } = await this.site.cliJson<{ items: { hostname: string }[] }>(['envoys', 'list', '--limit', '500']);
    return items.filter((row) => row.hostname === hostname).length;
  }

  /** of the token that is made with it */
  async left(): Promise<number> {
    return (await this.site.cliJson<{ permits_left: number }>(['tokens', 'create', '--pattern', 'x'])).permits_left;
  }
}

let hub: Mortal;
let spoke: Mortal;
const linked = () =>
  eventually(
    async () => {
      const { link } = await spoke.site.cliJson<{ link: { state: string } }>(['spanner', 'status']);
      expect(link.state).toBe('up');
    },
    { timeoutMs: 20_000 },
  );

beforeAll(async () => {
  csr = (await enrollKeys(join(folder, 'csr'))).csr;
  hub = new Mortal(await makeSite({ hostname: 'localhost', settings: SETTINGS, init: ['--role', 'hub'] }));
  await hub.start();
  const { token } = await hub.site.cliJson<{ token: string }>(['spanner', 'spoke', 'add', 'a', '--pattern', '*.a.test']);
  const file = join(folder, 'join.token');
  writeFileSync(file, token, { mode: 0o600 });
  const init = ['--role', 'spoke', '--join-token-file', file, '--hub-addr', `localhost:${hub.site.grpcPort}`];
  const settings = { ...SETTINGS, spanner: { ...SETTINGS.spanner, offline_enroll_tokens: 4 } };
  spoke = new Mortal(await makeSite({ hostname: 'localhost', settings, init }));
  await spoke.start();
  await linked();
}, 90_000);
afterAll(async () => {
  await spoke.stop();
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

/** Asks until it is no longer told to come back. */
async function patiently(at: Mortal, ...wanted: Parameters<typeof enrolRequest>): Promise<Awaited<ReturnType<typeof post>>> {
  return await eventually(
    async () => {
      const answer = await post(at, enrolRequest(...wanted));
      expect(['', 'TOKEN_ALREADY_SPENT']).toContain(answer.code);
      return answer;
    },
    { timeoutMs: 30_000, everyMs: 200 },
  );
}

describe('a process is killed', () => {
  test.each([
    ['the hub, when the token is spent', () => hub, 'enroll.spent', () => hub],
    ['the hub, when the spoke has answered', () => hub, 'enroll.ordered', () => hub],
    ['the spoke, when the envoy is made', () => spoke, 'site.enroll.made', () => hub],
    ['the hub, when a spoke has it spend a token', () => hub, 'enroll.spent', () => spoke],
  ])(
    '%s',
    async (_name, victim, failpoint, door) => {
      const [hostname, key] = [`host${++names}.a.test`, newSigningKey()];
      await linked();
      const token = await hub.token();
      await victim().restart(`${failpoint}=kill`);
      await linked();
      await post(door(), enrolRequest(csr, hostname, token, key)).then(
        ({ status }) => expect(status).toBe(503),
        // the hub itself went away
        () => undefined,
      );
      await victim().died();
      await victim().restart();
      await linked();
      expect((await patiently(door(), csr, `host${++names}.a.test`, token)).code).toBe('TOKEN_ALREADY_SPENT');
      const made = await patiently(door(), csr, hostname, token, key);
      expect(made.status).toBe(201);
      expect(made.reply.site_id).toBe('a');
      expect((await post(hub, enrolRequest(csr, hostname, token, key))).reply.envoy_id).toBe(made.reply.envoy_id);
      expect(await spoke.envoys(hostname)).toBe(1);
      const { items } = await hub.site.cliJson<{ items: { id: string; spoke: string; spent_by: string | null }[] }>(['tokens', 'list']);
      expect(items.find(({ id }) => id === token.split('_')[1])).toMatchObject({ spoke: 'a', spent_by: hostname });
    },
    90_000,
  );

  test('the spoke, while it uses a permit: neither token nor permit is gone', async () => {
    await linked();
    await eventually(async () => expect(await spoke.left()).toBe(3), { timeoutMs: 20_000, everyMs: 500 });
    await spoke.restart('site.permit.taken=kill');
    await linked();
    const tokens = async () => (await spoke.site.cliJson<{ items: unknown[] }>(['tokens', 'list'])).items.length;
    const before = await tokens();
    const { code } = await runProgram('vigocli', ['--data-dir', spoke.dataDir, 'tokens', 'create', '--pattern', 'lost'], {
      env: { HOME: folder },
    });
    expect(code).not.toBe(0);
    await spoke.died();
    await spoke.restart();
    expect(await tokens()).toBe(before);
    await linked();
    await eventually(async () => expect(await spoke.left()).toBe(3), { timeoutMs: 20_000, everyMs: 500 });
    const misused = await hub.site.cliJson<{ items: unknown[] }>(['audit', 'log', '--event', 'permit.misused']);
    expect(misused.items).toEqual([]);
  }, 60_000);

  test('without permits the command says what to do; for people it says how many are left', async () => {
    await linked();
    await eventually(async () => expect(await spoke.left()).toBe(3), { timeoutMs: 20_000, everyMs: 500 });
    await eventually(async () => expect(await spoke.left()).toBe(3), { timeoutMs: 20_000, everyMs: 500 });
    const cli = (...args: string[]) => runProgram('vigocli', ['--data-dir', spoke.dataDir, 'tokens', ...args], { env: { HOME: folder } });
    const one = await cli('create', '--pattern', '*.a.test');
    expect(one.stderr).toMatch(/this spoke may make [34] more before its hub gives it new permits/);
    const many = await cli('create', '--pattern', '*.a.test', '--count', '50');
    expect(many).toMatchObject({ code: 4, stderr: expect.stringMatching(/has \d permits left/) });
    const listed = await runProgram('vigocli', ['--data-dir', hub.dataDir, 'tokens', 'list'], { env: { HOME: folder } });
    expect(listed.stdout).toMatch(/^ID +PATTERN +STATE +SPOKE +CREATED +BY +EXPIRES +SPENT-BY/);
    expect(readFileSync(join(spoke.dataDir, 'server.yaml'), 'utf8')).toContain('offline_enroll_tokens: 4');
  }, 60_000);
});
