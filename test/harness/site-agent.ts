/** The program `vigo` enrolled at a test site: as a daemon that can be killed, or for one command. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Finished, type Running, runProgram, startProgram } from './process-launcher.ts';
import type { Site } from './site.ts';

export interface SiteAgent {
  readonly hostname: string;
  readonly folder: string;
  readonly stateDir: string;
  readonly configDir: string;
  /** @throws with both streams when it does not exit 0 */
  register(): Promise<void>;
  /** the daemon; ready when it says that it starts */
  start(): Promise<Running>;
  stop(): Promise<Finished | undefined>;
  kill(): Promise<void>;
  /** the next cycle begins now */
  wake(): void;
  /** what all daemons of this agent printed */
  log(): string;
  vigo(...words: string[]): Promise<Finished>;
}

export interface SiteAgentOptions {
  readonly folder: string;
  readonly stateDir?: string | undefined;
  readonly flags?: readonly string[] | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** A token for one host, made beforehand: making one needs the store. */
export async function tokenFor(site: Site, hostname: string): Promise<string> {
  const { items } = await site.cliJson<{ items: { token: string }[] }>(['tokens', 'create', '--pattern', hostname]);
  return items[0]!.token;
}

export function siteAgent(site: Site, hostname: string, token: string, options: SiteAgentOptions): SiteAgent {
  const folder = join(options.folder, hostname);
  mkdirSync(folder, { recursive: true });
  const configDir = join(folder, 'config');
  const stateDir = options.stateDir ?? join(folder, 'state');
  const env = { HOME: folder, ...options.env };
  const globals = ['--config-dir', configDir, '--state-dir', stateDir, ...(options.flags ?? [])];
  let running: Running | undefined;
  let logs = '';
  const ended = async (result: Promise<Finished> | undefined): Promise<Finished | undefined> => {
    const finished = await result;
    logs += finished?.stderr ?? '';
    running = undefined;
    return finished;
  };
  const vigo = (...words: string[]) => runProgram('vigo', [...globals, ...words], { env });
  return {
    hostname,
    folder,
    stateDir,
    configDir,
    async register() {
      const file = join(folder, 'token');
      writeFileSync(file, token, { mode: 0o600 });
      const result = await vigo(
        '--api-addr',
        `https://localhost:${site.apiPort}`,
        'register',
        '--token-file',
        file,
        '--hostname',
        hostname,
      );
      if (result.code !== 0) throw new Error(`vigo register exits ${result.code}\n${result.stdout}${result.stderr}`);
    },
    async start() {
      running = startProgram('vigo', [...globals, 'daemon'], { env });
      await running.printed('the daemon starts', 30_000);
      return running;
    },
    stop: () => ended(running?.stop()),
    async kill() {
      running?.kill('SIGKILL');
      await ended(running?.finished);
    },
    wake: () => running?.kill('SIGHUP'),
    log: () => logs + (running?.stderr() ?? ''),
    vigo,
  };
}

/** Runs of a host as the server lists them, newest first. */
export async function runsOf(
  site: Site,
  hostname: string,
): Promise<
  readonly { id: string; partial: string; started_at: string; received_at: string; changed: number; failed: number; flags: string[] }[]
> {
  return (await site.cliJson<{ items: [] }>(['runs', 'list', '--envoy', hostname, '--limit', '500'])).items;
}
