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
export const ENVOYS = ['demo-1.local', 'demo-2.local', 'demo-3.local'] as const;

export const at = {
  server: join(demoDir, 'server'),
  hosts: join(demoDir, 'hosts'),
  logs: join(demoDir, 'logs'),
  envoy: (hostname: string) => ({ config: join(demoDir, 'envoys', hostname, 'config'), state: join(demoDir, 'envoys', hostname, 'state') }),
} as const;

/** Linux takes socket paths of at most 107 bytes: a deep checkout gets its socket elsewhere. */
const defaultSocket = join(at.server, 'run', 'admin.sock');
export const socketPath =
  Buffer.byteLength(defaultSocket) <= 100 ? defaultSocket : join(tmpdir(), `vigo-demo-${process.getuid?.() ?? 0}`, 'admin.sock');
/** how a person reaches this server from the checkout */
export const cliPrefix =
  socketPath === defaultSocket
    ? 'npx vigocli --data-dir .vigo/demo/server'
    : `npx vigocli --data-dir .vigo/demo/server --server unix:${socketPath}`;

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

function argvOf(program: 'vigosrv' | 'vigo', args: readonly string[]): readonly [string, string[]] {
  return [process.execPath, ['--disable-warning=ExperimentalWarning', join(checkout, 'bin', `${program}.ts`), ...args]];
}

/** Runs a program to its end. @throws with its last words when it fails */
export async function runOnce(program: 'vigosrv' | 'vigo', args: readonly string[]): Promise<void> {
  const [command, argv] = argvOf(program, args);
  const child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text: Buffer) => {
      said += text.toString('utf8');
    });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0)
    throw new Error(`${program} ${args.find((word) => !word.startsWith('-')) ?? ''} ended with ${code}: ${said.trim().slice(-800)}`);
}

/** Starts a program that stays; its log goes to `.vigo/demo/logs`. `died` hears when it ends by itself. */
export function start(name: string, program: 'vigosrv' | 'vigo', args: readonly string[], died: (why: string) => void): void {
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

/** Makes the site at the first start; later starts keep data and ports. */
export async function prepare(): Promise<Ports> {
  for (const dir of [at.hosts, at.logs]) mkdirSync(dir, { recursive: true });
  const settings = join(at.server, 'server.yaml');
  if (!existsSync(settings)) {
    const [rpc, api] = [await freePort(), await freePort()];
    const address = (port: number) => `127.0.0.1:${port}`;
    await runOnce('vigosrv', [
      '--data-dir',
      at.server,
      'init',
      '--hostname',
      'localhost',
      '--grpc-listen',
      address(rpc),
      '--api-listen',
      address(api),
      '--advertise',
      `localhost:${rpc}`,
      '--public-url',
      `https://localhost:${api}`,
    ]);
    const made = parse(readFileSync(settings, 'utf8')) as Record<string, Record<string, unknown>>;
    made['server'] = { ...made['server'], local_socket: socketPath };
    made['checkin'] = { interval: '5s', herd_window: '1s' };
    made['enrollment'] = { token_bcrypt_cost: 10 };
    writeFileSync(settings, stringify(made));
  }
  const { server } = parse(readFileSync(settings, 'utf8')) as { server: { grpc_listen: string; api_listen: string } };
  const port = (listen: string) => Number(listen.slice(listen.lastIndexOf(':') + 1));
  return { rpc: port(server.grpc_listen), api: port(server.api_listen) };
}

/** Puts the demo's tree on the stage, unless somebody has begun to edit it. */
export function stage(): void {
  const stacks = join(at.server, 'stacks');
  if (existsSync(join(stacks, 'demo.vgo'))) return;
  rmSync(stacks, { recursive: true, force: true });
  cpSync(join(checkout, 'deploy', 'config-demo'), stacks, { recursive: true });
  writeFileSync(join(stacks, 'vars', 'demo.vgo'), `# written by the demo\ndemo_root: ${JSON.stringify(at.hosts)}\n`);
}
