/** The demo's directories, ports and processes: everything lies under `.vigo/demo` of the checkout, nothing needs root. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';

export const checkout = fileURLToPath(new URL('../..', import.meta.url));
export const demoDir = join(checkout, '.vigo', 'demo');
export const SPOKES = ['north', 'south'] as const;
export const ENVOYS = SPOKES.flatMap((spoke) => [1, 2, 3].map((number) => `web${number}.${spoke}.local`));
export type SiteId = 'hub' | (typeof SPOKES)[number];

export const at = {
  site: (id: SiteId) => join(demoDir, id),
  hosts: join(demoDir, 'hosts'),
  logs: join(demoDir, 'logs'),
  envoy: (hostname: string) => ({ config: join(demoDir, 'envoys', hostname, 'config'), state: join(demoDir, 'envoys', hostname, 'state') }),
} as const;

/** Linux takes socket paths of at most 107 bytes: a deep checkout gets its sockets elsewhere. */
export function socketOf(id: SiteId): string {
  const beside = join(at.site(id), 'run', 'admin.sock');
  return Buffer.byteLength(beside) <= 100 ? beside : join(tmpdir(), `vigo-demo-${process.getuid?.() ?? 0}-${id}`, 'admin.sock');
}

/** how a person reaches a server from the checkout */
export function cliPrefix(id: SiteId): string {
  const byFolder = `npx vigocli --data-dir .vigo/demo/${id}`;
  return socketOf(id).startsWith(at.site(id)) ? byFolder : `${byFolder} --server unix:${socketOf(id)}`;
}

const children: { readonly name: string; readonly child: ChildProcess }[] = [];

export interface Ports {
  readonly rpc: number;
  readonly api: number;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

type ProgramName = 'vigosrv' | 'vigo' | 'vigocli';

function argvOf(program: ProgramName, args: readonly string[]): readonly [string, string[]] {
  return [process.execPath, ['--disable-warning=ExperimentalWarning', join(checkout, 'bin', `${program}.ts`), ...args]];
}

/** Runs a program to its end; answers its standard output. @throws with its last words when it fails */
export async function runOnce(program: ProgramName, args: readonly string[]): Promise<string> {
  const [command, argv] = argvOf(program, args);
  const child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  child.stdout.on('data', (text: Buffer) => {
    said.out += text.toString('utf8');
  });
  child.stderr.on('data', (text: Buffer) => {
    said.err += text.toString('utf8');
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0)
    throw new Error(
      `${program} ${args.filter((word) => !word.startsWith('-')).join(' ')} ended with ${code}: ${`${said.out}${said.err}`.trim().slice(-800)}`,
    );
  return said.out;
}

/** `vigocli` at a site, through its local socket. */
export function cli(id: SiteId, args: readonly string[]): Promise<string> {
  return runOnce('vigocli', ['--data-dir', at.site(id), '--server', `unix:${socketOf(id)}`, ...args]);
}

/** Starts a program that stays; its log goes to `.vigo/demo/logs`. `died` hears when it ends by itself. */
export function start(name: string, program: ProgramName, args: readonly string[], died: (why: string) => void): void {
  const log = openSync(join(at.logs, `${name}.log`), 'a', 0o600);
  const [command, argv] = argvOf(program, args);
  const child = spawn(command, argv, { stdio: ['ignore', log, log] });
  const entry = { name, child };
  children.push(entry);
  child.once('exit', (code, signal) => {
    if (children.includes(entry))
      died(
        code === 4
          ? 'another demo of this checkout is running'
          : `${name} ended (${signal ?? `exit code ${code}`}); its log: .vigo/demo/logs/${name}.log`,
      );
  });
}

export function startServer(id: SiteId, died: (why: string) => void): void {
  const root = process.getuid?.() === 0 ? ['--allow-root'] : [];
  start(id, 'vigosrv', ['--data-dir', at.site(id), ...root, 'run'], died);
}

/** Ends what was started, newest first, and only that. */
export async function stopAll(): Promise<void> {
  const started = children.splice(0).reverse();
  await Promise.all(
    started.map(async ({ child }) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const force = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(force);
    }),
  );
}

export function reset(): void {
  rmSync(demoDir, { recursive: true, force: true });
}

function settingsFile(id: SiteId): string {
  return join(at.site(id), 'server.yaml');
}

/** @param more flags of `vigosrv init` for the role */
async function makeSite(id: SiteId, more: readonly string[]): Promise<void> {
  const [rpc, api] = [await freePort(), await freePort()];
  const address = (port: number) => `127.0.0.1:${port}`;
  await runOnce('vigosrv', [
    ...['--data-dir', at.site(id), 'init', '--hostname', 'localhost'],
    ...['--grpc-listen', address(rpc), '--api-listen', address(api)],
    ...['--advertise', `localhost:${rpc}`, '--public-url', `https://localhost:${api}`],
    ...more,
  ]);
  const made = parse(readFileSync(settingsFile(id), 'utf8')) as Record<string, Record<string, unknown>>;
  made['server'] = { ...made['server'], local_socket: socketOf(id), threads: 1 };
  made['checkin'] = { interval: '5s', herd_window: '1s' };
  made['enrollment'] = { token_bcrypt_cost: 10 };
  made['spanner'] = { ...made['spanner'], heartbeat: '1s' };
  writeFileSync(settingsFile(id), stringify(made));
}

/** The ports of a site that is made. */
export function portsOf(id: SiteId): Ports {
  const { server } = parse(readFileSync(settingsFile(id), 'utf8')) as { server: { grpc_listen: string; api_listen: string } };
  const port = (listen: string) => Number(listen.slice(listen.lastIndexOf(':') + 1));
  return { rpc: port(server.grpc_listen), api: port(server.api_listen) };
}

/** Makes the hub at the first start; later starts keep data and ports. */
export async function prepareHub(): Promise<void> {
  for (const dir of [at.hosts, at.logs]) mkdirSync(dir, { recursive: true });
  if (!existsSync(settingsFile('hub'))) await makeSite('hub', ['--role', 'hub']);
}

/** Adds a spoke at the running hub and makes its site; a spoke that is there stays as it is. */
export async function prepareSpoke(id: (typeof SPOKES)[number]): Promise<void> {
  if (existsSync(settingsFile(id))) return;
  const token = join(at.logs, `${id}.join`);
  const hub = portsOf('hub');
  const added = JSON.parse(
    await cli('hub', ['--json', 'spanner', 'spoke', 'add', id, '--pattern', `*.${id}.local`, '--addr', 'localhost:1']),
  ) as {
    readonly token: string;
  };
  writeFileSync(token, added.token, { mode: 0o600 });
  await makeSite(id, ['--role', 'spoke', '--spoke-id', id, '--hub-addr', `localhost:${hub.rpc}`, '--join-token-file', token]);
  // its port is known now
  await cli('hub', ['spanner', 'spoke', 'set', id, '--addr', `localhost:${portsOf(id).rpc}`]);
}

/** Puts the demo's tree on the stage of the hub, unless somebody has begun to edit it. */
export function stage(): void {
  const stacks = join(at.site('hub'), 'stacks');
  if (existsSync(join(stacks, 'demo.vgo'))) return;
  rmSync(stacks, { recursive: true, force: true });
  cpSync(join(checkout, 'deploy', 'config-demo'), stacks, { recursive: true });
  writeFileSync(join(stacks, 'vars', 'demo.vgo'), `# written by the demo\ndemo_root: ${JSON.stringify(at.hosts)}\n`);
}
