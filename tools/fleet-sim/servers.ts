/** The real servers of a simulation: a hub and its spokes as processes on loopback, administered with vigocli. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { parse, stringify } from 'yaml';
import { type Running, runProgram, startProgram } from '../../test/harness/process-launcher.ts';

export interface ServerOptions {
  readonly id: string;
  readonly dir: string;
  /** flags of `vigosrv init` for the role */
  readonly init: readonly string[];
  /** keys of server.yaml, merged over what init wrote, one level deep */
  readonly settings: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
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

export class SimServer {
  readonly id: string;
  readonly dataDir: string;
  readonly rpcPort: number;
  readonly apiPort: number;
  #running: Running | undefined;

  private constructor(options: ServerOptions, rpcPort: number, apiPort: number) {
    this.id = options.id;
    this.dataDir = join(options.dir, options.id);
    this.rpcPort = rpcPort;
    this.apiPort = apiPort;
  }

  static async make(options: ServerOptions): Promise<SimServer> {
    const server = new SimServer(options, await freePort(), await freePort());
    const result = await runProgram('vigosrv', [
      ...['--data-dir', server.dataDir, '--allow-root', 'init', '--hostname', 'localhost'],
      ...['--grpc-listen', `127.0.0.1:${server.rpcPort}`, '--api-listen', `127.0.0.1:${server.apiPort}`],
      ...['--advertise', `localhost:${server.rpcPort}`, '--public-url', `https://localhost:${server.apiPort}`],
      ...options.init,
    ]);
    if (result.code !== 0) throw new Error(`vigosrv init of ${options.id} exits ${result.code}\n${result.stdout}${result.stderr}`);
    const file = join(server.dataDir, 'server.yaml');
    const held = parse(readFileSync(file, 'utf8')) as Record<string, Record<string, unknown>>;
    for (const [section, keys] of Object.entries(options.settings)) held[section] = { ...held[section], ...keys };
    writeFileSync(file, stringify(held));
    return server;
  }

  get pid(): number {
    return this.#running?.pid ?? 0;
  }

  async start(): Promise<void> {
    this.#running = startProgram('vigosrv', ['--data-dir', this.dataDir, '--allow-root', 'run']);
    await this.#running.printed('the server is up', 60_000);
  }

  async stop(): Promise<void> {
    const result = await this.#running?.stop(30_000);
    if (result !== undefined) writeFileSync(join(this.dataDir, 'log'), result.stderr, { flag: 'a' });
    this.#running = undefined;
  }

  async kill(): Promise<void> {
    this.#running?.kill('SIGKILL');
    await this.#running?.finished;
    this.#running = undefined;
  }

  /** @throws with both streams when the exit code is not among `codes` */
  async cli(args: readonly string[], codes: readonly number[] = [0]): Promise<string> {
    const { code, stdout, stderr } = await runProgram('vigocli', ['--data-dir', this.dataDir, ...args]);
    if (!codes.includes(code ?? -1)) throw new Error(`${this.id}: vigocli ${args.join(' ')} exits ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  async cliJson<T>(args: readonly string[], codes?: readonly number[]): Promise<T> {
    return JSON.parse(await this.cli(['--json', ...args], codes)) as T;
  }

  /** Puts a tree on the stage in place of what is there. */
  stage(files: Readonly<Record<string, string>> | string): void {
    const stacks = join(this.dataDir, 'stacks');
    for (const name of readdirSync(stacks)) rmSync(join(stacks, name), { recursive: true });
    if (typeof files === 'string') cpSync(files, stacks, { recursive: true });
    else
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(dirname(join(stacks, name)), { recursive: true });
        writeFileSync(join(stacks, name), text);
      }
  }
}
