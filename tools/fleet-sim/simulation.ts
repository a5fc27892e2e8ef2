/** A whole simulated fleet: servers as processes, envoys by the thousand in a few processes of their own. */
import { type ChildProcess, execFile, fork } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Population, Question, Window } from './envoy-process.ts';
import { SimServer } from './servers.ts';
import type { Credentials, Fleet } from './virtual-envoy.ts';

export interface SimulationOptions {
  /** folder for everything; its content is replaced */
  readonly dir: string;
  readonly envoys: number;
  readonly spokes: number;
  readonly intervalS: number;
  /** processes that the envoys live in */
  readonly processes: number;
  readonly reportEvery: number;
  /** enrolled, but unable to connect: for what happens between servers */
  readonly knownOnly?: boolean | undefined;
  /** files on the stage, or undefined for one small module */
  readonly tree?: Readonly<Record<string, string>> | undefined;
  say(text: string): void;
}

export interface EnvoyPlace {
  readonly id: string;
  readonly site: string;
  readonly ownerEpoch: number;
  readonly queued: number;
}

const local = (file: string) => fileURLToPath(new URL(file, import.meta.url));

export const SMALL_TREE: Readonly<Record<string, string>> = {
  'default.vgo': '- match: "*"\n  modules: []\n  vars: { fleet: simulated }\n',
};

class EnvoyProcess {
  readonly #child: ChildProcess;
  readonly #waiting: { resolve(answer: unknown): void; reject(error: Error): void }[] = [];

  constructor(file: string) {
    this.#child = fork(local('./envoy-process.ts'), [file], {
      execArgv: ['--disable-warning=ExperimentalWarning', '--max-old-space-size=8192'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child.on('message', (message: { answer: unknown }) => this.#waiting.shift()?.resolve(message.answer));
    this.#child.once('exit', (code) => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`an envoy process ended with ${code}`));
    });
  }

  next(): Promise<unknown> {
    return new Promise((resolve, reject) => void this.#waiting.push({ resolve, reject }));
  }

  ask<T>(question: Question): Promise<T> {
    const answer = this.next();
    this.#child.send(question);
    return answer as Promise<T>;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    await ended;
  }
}

/** All processes together: counts added, of latencies the worst process. */
function together(windows: readonly Window[]): Window {
  const answered: Record<string, number> = {};
  const failed: Record<string, number> = {};
  const latency: Record<string, { p50: number; p99: number; max: number }> = {};
  for (const window of windows) {
    for (const [site, count] of Object.entries(window.answered)) answered[site] = (answered[site] ?? 0) + count;
    for (const [name, count] of Object.entries(window.failed)) failed[name] = (failed[name] ?? 0) + count;
    for (const [site, { p50, p99, max }] of Object.entries(window.latency)) {
      const other = latency[site];
      latency[site] = { p50: Math.max(p50, other?.p50 ?? 0), p99: Math.max(p99, other?.p99 ?? 0), max: Math.max(max, other?.max ?? 0) };
    }
  }
  return {
    seconds: Math.max(...windows.map(({ seconds }) => seconds)),
    answered,
    failed,
    latency,
    redirected: windows.reduce((sum, { redirected }) => sum + redirected, 0),
    rehomed: windows.flatMap(({ rehomed }) => rehomed),
  };
}

export class Simulation {
  readonly hub: SimServer;
  readonly spokes: readonly SimServer[];
  readonly #options: SimulationOptions;
  #processes: EnvoyProcess[] = [];

  private constructor(options: SimulationOptions, hub: SimServer, spokes: readonly SimServer[]) {
    this.#options = options;
    this.hub = hub;
    this.spokes = spokes;
  }

  /** Servers up and joined, envoys enrolled, a release live everywhere; nobody checks in yet. */
  static async make(options: SimulationOptions): Promise<Simulation> {
    const { dir, say } = options;
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir, { recursive: true });
    const checkin = { interval: `${options.intervalS}s`, connection: 'keep', keep_max: 50_000, herd_window: '5s' };
    const common = { checkin, limits: { connections_total: 50_000 }, enrollment: { token_bcrypt_cost: 10 } };
    say('making the hub');
    const hub = await SimServer.make({
      id: 'hub',
      dir,
      init: ['--role', 'hub'],
      settings: { ...common, spanner: { role: 'hub', heartbeat: '2s', move_rate_pct: 20 }, server: { threads: 1 } },
    });
    await hub.start();
    const spokes: SimServer[] = [];
    const simulation = new Simulation(options, hub, spokes);
    try {
      for (let number = 1; number <= options.spokes; number++) spokes.push(await simulation.#makeSpoke(`s${number}`, common));
      await simulation.#enrolAll();
      hub.stage(options.tree ?? SMALL_TREE);
      await hub.cli(['config', 'publish', '--yes', '--message', 'simulation']);
      return simulation;
    } catch (thrown) {
      await simulation.stop();
      throw thrown;
    }
  }

  async #makeSpoke(id: string, common: Readonly<Record<string, Readonly<Record<string, unknown>>>>): Promise<SimServer> {
    const { dir, say } = this.#options;
    say(`joining spoke ${id}`);
    const added = await this.hub.cliJson<{ token: string }>([
      'spanner',
      'spoke',
      'add',
      id,
      '--pattern',
      `*.${id}.sim`,
      // what a spoke that is drained cannot keep, the others share
      '--pattern',
      '*.sim',
      '--addr',
      'localhost:1',
    ]);
    const tokenFile = join(dir, `${id}.join`);
    writeFileSync(tokenFile, added.token, { mode: 0o600 });
    const spoke = await SimServer.make({
      id,
      dir,
      init: ['--role', 'spoke', '--spoke-id', id, '--hub-addr', `localhost:${this.hub.rpcPort}`, '--join-token-file', tokenFile],
      settings: {
        ...common,
        spanner: { role: 'spoke', spoke_id: id, hub_addr: `localhost:${this.hub.rpcPort}`, join_token_file: tokenFile, heartbeat: '2s' },
        server: { threads: 1 },
      },
    });
    await this.hub.cli(['spanner', 'spoke', 'set', id, '--addr', `localhost:${spoke.rpcPort}`]);
    await spoke.start();
    return spoke;
  }

  /** The first check-ins, each with a handshake and a bundle, are spread so that this machine can make them: 100 a second. */
  get settleMs(): number {
    return Math.max(this.#options.intervalS * 1000, this.#options.envoys * 10);
  }

  get intervalS(): number {
    return this.#options.intervalS;
  }

  populationFile(index: number): string {
    return join(this.#options.dir, `population-${index}.json`);
  }

  async #enrolAll(): Promise<void> {
    const { envoys, processes, reportEvery, knownOnly, dir, say } = this.#options;
    say(`enrolling ${envoys} envoys`);
    const all: { who: Credentials; place: Population['envoys'][number]['place'] }[] = [];
    let fleet: Fleet | undefined;
    const run = promisify(execFile);
    const share = Math.ceil(envoys / this.spokes.length);
    await Promise.all(
      this.spokes.map(async (spoke, index) => {
        const count = Math.min(share, envoys - share * index);
        const output = join(dir, `seed-${spoke.id}.json`);
        await spoke.stop();
        await run(process.execPath, [
          ...['--disable-warning=ExperimentalWarning', local('./seed-process.ts')],
          ...[spoke.dataDir, String(share * index), String(count), `${spoke.id}.sim`, output, ...(knownOnly === true ? ['known'] : [])],
        ]);
        const seeded = JSON.parse(readFileSync(output, 'utf8')) as { fleet: Fleet; made: Credentials[] };
        fleet = seeded.fleet;
        const place = { siteId: spoke.id, servers: [`localhost:${spoke.rpcPort}`], ownerEpoch: 1 };
        all.push(...seeded.made.map((who) => ({ who, place })));
        await spoke.start();
      }),
    );
    for (let index = 0; index < processes; index++) {
      const population: Population = {
        fleet: fleet!,
        envoys: all.filter((_envoy, number) => number % processes === index),
        reportEvery,
        spreadMs: this.settleMs,
      };
      writeFileSync(this.populationFile(index), JSON.stringify(population));
    }
  }

  /** Everybody begins to check in, spread over one interval. */
  async run(): Promise<void> {
    this.#processes = Array.from({ length: this.#options.processes }, (_unused, index) => new EnvoyProcess(this.populationFile(index)));
    await Promise.all(this.#processes.map((process) => process.next()));
  }

  /** What was seen since the last call. */
  async window(): Promise<Window> {
    return together(await Promise.all(this.#processes.map((process) => process.ask<Window>({ ask: 'window' }))));
  }

  async places(): Promise<readonly EnvoyPlace[]> {
    return (await Promise.all(this.#processes.map((process) => process.ask<EnvoyPlace[]>({ ask: 'places' })))).flat();
  }

  /** As a push over streams would: everybody comes within a second. */
  async push(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.ask({ ask: 'push' })));
  }

  /** Nobody begins a cycle any more. */
  async quiet(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.ask({ ask: 'quiet' })));
  }

  /** Redirects, changes of owner and results as the envoys saw them. */
  async history(): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const files = this.#processes.map((_process, index) => join(this.#options.dir, `history-${index}.jsonl`));
    await Promise.all(this.#processes.map((process, index) => process.ask({ ask: 'history', file: files[index]! })));
    return files.flatMap((file) =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop()));
    await Promise.all([...this.spokes, this.hub].map((server) => server.stop()));
  }
}
