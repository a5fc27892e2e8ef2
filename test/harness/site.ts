/** A whole stand-alone server for a test: made with `vigosrv init`, run as a process, administered with `vigocli` through its local socket. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { freePort } from './free-port.ts';
import { type Finished, type Running, runProgram, startProgram } from './process-launcher.ts';

export interface Site {
  readonly dataDir: string;
  readonly grpcPort: number;
  readonly apiPort: number;
  /** @param failpoints `name=kill`, where the process shall die */
  start(failpoints?: string): Promise<void>;
  /** resolves when the process has ended by itself */
  died(): Promise<void>;
  stop(): Promise<Finished | undefined>;
  /** as a power cut would */
  kill(): Promise<void>;
  /** 0 while it does not run */
  pid(): number;
  log(): string;
  /** vigocli, whatever it exits with */
  run(args: readonly string[], stdin?: string): Promise<Finished>;
  /** @throws with both streams when it does not exit 0 */
  cli(args: readonly string[], stdin?: string): Promise<string>;
  cliJson<T>(args: readonly string[], stdin?: string): Promise<T>;
  remove(): Promise<void>;
}

export interface SiteOptions {
  /** name that agents dial */
  readonly hostname: string;
  /** address to listen at: empty for all */
  readonly listen?: string | undefined;
  /** keys of server.yaml, merged over what init wrote, one level deep */
  readonly settings?: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined;
  /** folder that becomes the stage */
  readonly tree?: string | undefined;
  /** where the data directory is made; a new folder without */
  readonly top?: string | undefined;
  /** more flags of `vigosrv init`, such as its role */
  readonly init?: readonly string[] | undefined;
  /** more flags before the command */
  readonly flags?: readonly string[] | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
}

function must(what: string, result: Finished): string {
  if (result.code !== 0) throw new Error(`${what} exits ${result.code}\n${result.stdout}${result.stderr}`);
  return result.stdout;
}

/** Made, not started. */
export async function makeSite(options: SiteOptions): Promise<Site> {
  const top = options.top ?? mkdtempSync(join(tmpdir(), 'vigo-site-'));
  const dataDir = join(top, 'data');
  const [grpcPort, apiPort] = [await freePort(), await freePort()];
  const env = { HOME: top, ...options.env };
  const listen = options.listen ?? '127.0.0.1';
  const globals = ['--data-dir', dataDir, '--allow-root', ...(options.flags ?? [])];
  const init = await runProgram(
    'vigosrv',
    [
      ...globals,
      'init',
      ...['--hostname', options.hostname, '--grpc-listen', `${listen}:${grpcPort}`, '--api-listen', `${listen}:${apiPort}`],
      ...['--advertise', `${options.hostname}:${grpcPort}`, '--public-url', `https://${options.hostname}:${apiPort}`],
      ...(options.init ?? []),
    ],
    { env },
  );
  must('vigosrv init', init);
  const file = join(dataDir, 'server.yaml');
  const settings = parse(readFileSync(file, 'utf8')) as Record<string, Record<string, unknown>>;
  for (const [section, keys] of Object.entries(options.settings ?? {})) settings[section] = { ...settings[section], ...keys };
  writeFileSync(file, stringify(settings));
  if (options.tree !== undefined) {
    const stage = join(dataDir, 'stacks');
    for (const name of readdirSync(stage)) rmSync(join(stage, name), { recursive: true });
    cpSync(options.tree, stage, { recursive: true });
  }
  let running: Running | undefined;
  let logs = '';
  const cli = async (args: readonly string[], stdin = ''): Promise<string> =>
    must(`vigocli ${args.join(' ')}`, await runProgram('vigocli', ['--data-dir', dataDir, ...args], { env, stdin }));
  const stop = async (): Promise<Finished | undefined> => {
    const result = await running?.stop();
    logs += result?.stderr ?? '';
    running = undefined;
    return result;
  };
  return {
    dataDir,
    grpcPort,
    apiPort,
    async start(failpoints) {
      running =
        failpoints === undefined
          ? startProgram('vigosrv', [...globals, 'run'], { env })
          : startProgram('vigosrv', [...globals, 'run', '--failpoints'], { env: { ...env, VIGO_FAILPOINTS: failpoints } });
      await running.printed('the server is up', 30_000);
    },
    stop,
    async kill() {
      running?.kill('SIGKILL');
      logs += (await running?.finished)?.stderr ?? '';
      running = undefined;
    },
    async died() {
      logs += (await running?.finished)?.stderr ?? '';
      running = undefined;
    },
    pid: () => running?.pid ?? 0,
    log: () => logs + (running?.stderr() ?? ''),
    run: (args, stdin = '') => runProgram('vigocli', ['--data-dir', dataDir, ...args], { env, stdin }),
    cli,
    cliJson: async <T>(args: readonly string[], stdin?: string) => JSON.parse(await cli(['--json', ...args], stdin)) as T,
    async remove() {
      await stop();
      rmSync(top, { recursive: true, force: true });
    },
  };
}
