/** `vigosrv` as an operator meets it: how a start fails and with which code, what signals do, how a broken audit log is lived with. */
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { eventually } from '../harness/eventually.ts';
import { freePort } from '../harness/free-port.ts';
import { type Running, runProgram, startProgram } from '../harness/process-launcher.ts';
import { testUnless } from '../harness/where.ts';

const dir = mkdtempSync(join(tmpdir(), 'vigo-process-'));
const good = join(dir, 'good');
const isRoot = process.getuid?.() === 0;
const rootFlag = isRoot ? ['--allow-root'] : [];
let copies = 0;

beforeAll(async () => {
  const [rpc, api] = [await freePort(), await freePort()];
  const made = await runProgram('vigosrv', [
    '--data-dir',
    good,
    'init',
    '--hostname',
    'localhost',
    '--grpc-listen',
    `127.0.0.1:${rpc}`,
    '--api-listen',
    `127.0.0.1:${api}`,
  ]);
  expect(made).toMatchObject({ code: 0 });
}, 60_000);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function copy(): string {
  const to = join(dir, `copy-${++copies}`);
  cpSync(good, to, { recursive: true });
  return to;
}

const start = (dataDir: string, ...more: string[]): Running =>
  startProgram('vigosrv', ['--data-dir', dataDir, ...rootFlag, ...more, 'run']);
const cli = (dataDir: string, ...words: string[]) => runProgram('vigocli', ['--data-dir', dataDir, ...words]);

describe('a start that fails says why and exits with its code', () => {
  testUnless(isRoot ? undefined : 'only root can be refused for being root')('2: as root without --allow-root', async () => {
    const { code, stderr } = await runProgram('vigosrv', ['--data-dir', good, 'run']);
    expect(stderr).toContain('--allow-root');
    expect(code).toBe(2);
  });

  test('3: every problem of server.yaml with file, line and column, and what was meant', async () => {
    const dataDir = copy();
    writeFileSync(join(dataDir, 'server.yaml'), 'server:\n  hostnme: x\ncheckin:\n  interval: 1s\n  jiter_pct: 10\n');
    const { code, stderr } = await start(dataDir).finished;
    expect(stderr).toMatch(/server\.yaml:2:\d+: error .*hostnme.*did you mean "hostname"/);
    expect(stderr).toMatch(/server\.yaml:4:\d+/);
    expect(stderr).toMatch(/server\.yaml:5:\d+.*jitter_pct/);
    expect(code).toBe(3);
    expect((await runProgram('vigosrv', ['--data-dir', dataDir, 'check-config'])).code).toBe(3);
  });

  test('4: the data directory is in use, or not empty at init', async () => {
    const dataDir = copy();
    const first = start(dataDir);
    await first.printed('the server is up');
    const { code, stderr } = await start(dataDir).finished;
    expect(stderr).toContain('DATA_DIR_LOCKED');
    expect(code).toBe(4);
    expect((await first.stop()).code).toBe(0);
    expect((await runProgram('vigosrv', ['--data-dir', dataDir, 'init'])).code).toBe(4);
  }, 30_000);

  test('6: a private key that others can read', async () => {
    const dataDir = copy();
    chmodSync(join(dataDir, 'keys', 'server.key'), 0o640);
    const { code, stderr } = await start(dataDir).finished;
    expect(stderr).toContain('KEY_FILE_PERMISSIONS');
    expect(code).toBe(6);
  });

  test('7: a database that is no database is left as it is', async () => {
    const dataDir = copy();
    const file = join(dataDir, 'db', 'vigo.db');
    writeFileSync(file, 'garbage'.repeat(1000));
    const { code } = await start(dataDir).finished;
    expect(code).toBe(7);
    expect(readFileSync(file, 'utf8').startsWith('garbage')).toBe(true);
  });

  test('8: the port is taken', async () => {
    const dataDir = copy();
    const port = Number(/grpc_listen: 127\.0\.0\.1:(\d+)/.exec(readFileSync(join(dataDir, 'server.yaml'), 'utf8'))?.[1]);
    const taker = createServer().listen(port, '127.0.0.1');
    const { code, stderr } = await start(dataDir).finished;
    taker.close();
    expect(stderr).toContain('LISTEN_FAILED');
    expect(code).toBe(8);
  });
});

test('signals: HUP names what needs a restart and refuses an invalid file, USR1 writes diagnostics without secrets, TERM ends with 0', async () => {
  const dataDir = copy();
  const server = start(dataDir);
  await server.printed('the server is up');
  const settings = readFileSync(join(dataDir, 'server.yaml'), 'utf8');
  writeFileSync(join(dataDir, 'server.yaml'), `${settings}checkin:\n  interval: 30s\n`);
  server.kill('SIGHUP');
  await server.printed(/need a restart.*|"keys":\["checkin\.interval"\]/);
  writeFileSync(join(dataDir, 'server.yaml'), 'nonsense: 1\n');
  server.kill('SIGHUP');
  await server.printed('nothing was changed');
  server.kill('SIGUSR1');
  await server.printed('diagnostics were written');
  const file = readdirSync(join(dataDir, 'tmp')).find((name) => name.startsWith('diagnostics-'))!;
  const text = readFileSync(join(dataDir, 'tmp', file), 'utf8');
  expect(JSON.parse(text)).toMatchObject({ live_release: null });
  expect(text).not.toContain(readFileSync(join(dataDir, 'master.key'), 'utf8').trim());
  expect((await server.stop()).code).toBe(0);
  expect(existsSync(join(dataDir, 'run', 'admin.sock'))).toBe(false);
}, 30_000);

test('a broken audit log: the server serves on, refuses changes, and an admin acknowledges; a restart does not forget that', async () => {
  const dataDir = copy();
  const first = start(dataDir);
  await first.printed('the server is up');
  expect((await cli(dataDir, 'tokens', 'create', '--pattern', 'a.example.com')).code).toBe(0);
  expect((await cli(dataDir, 'audit', 'verify')).code).toBe(0);
  await first.stop();
  const database = new Database(join(dataDir, 'db', 'vigo.db'));
  const table = (
    database.prepare("select name from sqlite_master where type = 'table' and name like 'audit%' and sql like '%record%'").get() as {
      name: string;
    }
  ).name;
  expect(database.prepare(`update ${table} set record = replace(record, 'a.example.com', 'b.example.com')`).run().changes).toBeGreaterThan(
    0,
  );
  database.close();
  const second = start(dataDir);
  await second.printed('the server is up');
  expect(second.stderr()).toContain('AUDIT_BROKEN');
  expect((await cli(dataDir, 'audit', 'verify')).code).toBe(1);
  expect(await cli(dataDir, 'tokens', 'create', '--pattern', 'c.example.com')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('AUDIT_BROKEN'),
  });
  expect((await cli(dataDir, 'audit', 'verify', '--acknowledge')).code).toBe(1);
  expect((await cli(dataDir, 'tokens', 'create', '--pattern', 'c.example.com')).code).toBe(0);
  await second.stop();
  const third = start(dataDir);
  await third.printed('the server is up');
  await eventually(async () => expect((await cli(dataDir, 'tokens', 'create', '--pattern', 'd.example.com')).code).toBe(0));
  expect((await cli(dataDir, 'audit', 'verify')).code).toBe(1);
  await third.stop();
}, 90_000);
