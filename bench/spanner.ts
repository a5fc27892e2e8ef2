/** S3 to S7: what a hub does to a fleet: a drain under load, a question with a dead spoke, a publish to everybody, single moves. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { drainScenario } from '../tools/fleet-sim/scenarios.ts';
import { Simulation, type SimulationOptions } from '../tools/fleet-sim/simulation.ts';
import { type Bench, type BenchContext, type Figure, median, pause } from './measure.ts';

const INTERVAL_S = 15;
const QUERY_DEADLINE_MS = 5_000;
const FILES = 1_000;
const vigocli = fileURLToPath(new URL('../bin/vigocli.ts', import.meta.url));

const options = (context: BenchContext, name: string, more: Partial<SimulationOptions>): SimulationOptions => ({
  dir: join(context.dir, name),
  envoys: 1_000,
  spokes: 3,
  intervalS: INTERVAL_S,
  processes: 2,
  reportEvery: 5,
  say: (text) => context.say(`${name}: ${text}`),
  ...more,
});

async function withSimulation<T>(wanted: SimulationOptions, work: (simulation: Simulation) => Promise<T>): Promise<T> {
  const simulation = await Simulation.make(wanted);
  try {
    return await work(simulation);
  } finally {
    await simulation.stop();
  }
}

function p99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? 0;
}

export const drain: Bench = {
  name: 'drain',
  ids: ['S3'],
  async run(context) {
    const envoys = context.quick ? 900 : 10_000;
    return withSimulation(options(context, 'drain', { envoys }), async (simulation) => {
      await simulation.run();
      await pause(simulation.settleMs + INTERVAL_S * 1_100);
      const { moved, seconds, idleP99Ms, duringP99Ms, p99Ratio, lostResults, faults } = await drainScenario(simulation, '20', context.say);
      return [
        {
          id: 'S3.p99',
          what: `check-in p99 of the other spokes while one of three is drained at 20 %/min, ${envoys} envoys at ${INTERVAL_S} s`,
          value: duringP99Ms,
          unit: 'ms',
          floor: { what: 'the same spokes before', value: idleP99Ms },
          limit: 2 * idleP99Ms,
          note: `worst spoke ${p99Ratio.toFixed(2)} x its own idle p99; ${moved} envoys moved in ${seconds.toFixed(0)} s (${((moved / seconds) * 60).toFixed(0)} a minute)`,
        },
        { id: 'S3.lost', what: 'results acknowledged and in no store', value: lostResults, unit: '', limit: 0 },
        {
          id: 'S3.faults',
          what: 'double owners, late servers, envoys left behind, results nobody took',
          value: faults.length,
          unit: '',
          limit: 0,
          ...(faults.length > 0 ? { note: faults.slice(0, 3).join('; ') } : {}),
        },
      ] satisfies Figure[];
    });
  },
};

/** Wall time, exit code and words of one `vigocli envoys list`. */
async function asked(dataDir: string): Promise<{ readonly ms: number; readonly code: number | null; readonly said: string }> {
  const begun = performance.now();
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', vigocli, '--data-dir', dataDir, 'envoys', 'list', '--limit', '5'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', (text: Buffer) => {
    said += text.toString('utf8');
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return {
    ms: performance.now() - begun,
    code,
    said:
      said
        .split('\n')
        .find((line) => line.includes('answered'))
        ?.trim() ?? said.trim(),
  };
}

function manyFiles(changed: boolean): Readonly<Record<string, string>> {
  const files: Record<string, string> = { 'default.vgo': '- match: "*"\n  modules: [m0000]\n' };
  for (let index = 0; index < FILES - 1; index++) {
    const name = `m${String(index).padStart(4, '0')}`;
    const text = changed && index === 7 ? 'changed' : 'as it was';
    files[`modules/${name}.vgo`] =
      `name: ${name}\nresources:\n  - name: note\n    type: file\n    target_path: /tmp/${name}\n    content: "${text}\\n"\n`;
  }
  return files;
}

interface Status {
  readonly spokes: readonly {
    readonly spoke: string;
    readonly number: number | null;
    readonly served_after_ms: number | null;
    readonly bytes: number | null;
  }[];
}

/** Waits until every spoke serves the release. */
async function served(simulation: Simulation, number: number): Promise<Status> {
  for (;;) {
    const status = await simulation.hub.cliJson<Status>(['config', 'status'], [0, 1]);
    if (status.spokes.every((spoke) => spoke.number === number && spoke.served_after_ms !== null)) return status;
    await pause(50);
  }
}

export const fleet: Bench = {
  name: 'fleet',
  ids: ['S5', 'S6'],
  async run(context) {
    const envoys = context.quick ? 3_000 : 30_000;
    return withSimulation(options(context, 'fleet', { envoys, knownOnly: true, tree: manyFiles(false) }), async (simulation) => {
      const { hub, spokes } = simulation;
      await served(simulation, 1);
      hub.stage(manyFiles(true));
      await hub.cli(['config', 'publish', '--yes', '--message', 'one file of a thousand']);
      const status = await served(simulation, 2);
      const serving = Math.max(...status.spokes.map(({ served_after_ms: ms }) => ms ?? 0));
      const bytes = Math.max(...status.spokes.map((spoke) => spoke.bytes ?? 0));
      const changed = Buffer.byteLength(manyFiles(true)['modules/m0007.vgo']!);
      const whole = await asked(hub.dataDir);
      process.kill(spokes[0]!.pid, 'SIGSTOP');
      // equal questions within a second are asked once
      await pause(1_500);
      const silent = await asked(hub.dataDir);
      process.kill(spokes[0]!.pid, 'SIGCONT');
      await pause(8_000);
      await spokes[0]!.kill();
      await pause(1_000);
      const dead = await asked(hub.dataDir);
      return [
        {
          id: 'S5.silent',
          what: 'vigocli envoys list while one of three spokes is stopped but linked (SIGSTOP), whole command',
          value: silent.ms,
          unit: 'ms',
          floor: { what: 'its deadline + the command with all three there', value: QUERY_DEADLINE_MS + whole.ms },
          limit: QUERY_DEADLINE_MS + 500 + whole.ms,
          note: `exit ${silent.code}: ${silent.said}`,
        },
        {
          id: 'S5.dead',
          what: 'the same, the spoke killed',
          value: dead.ms,
          unit: 'ms',
          floor: { what: 'the command with all three there', value: whole.ms },
          limit: QUERY_DEADLINE_MS + 500 + whole.ms,
          note: `exit ${dead.code}: ${dead.said}`,
        },
        {
          id: 'S6.serving',
          what: `from the hub's offer until all three spokes serve the release, ${envoys} envoys known`,
          value: serving,
          unit: 'ms',
          limit: 5_000,
        },
        {
          id: 'S6.bytes',
          what: `sent to a spoke when one file of ${FILES} changed`,
          value: bytes,
          unit: 'bytes',
          floor: { what: 'the changed file', value: changed },
          limit: 16_384,
          note: 'both ways on the link since the offer: the file, what changed in the manifest, signature, heartbeats meanwhile',
        },
      ] satisfies Figure[];
    });
  },
};

interface Move {
  readonly phase: string;
  readonly started_at: string;
  readonly ended_at: string | null;
}

async function moveAll(simulation: Simulation, from: string, to: string, rate: string, pushed: boolean): Promise<number[]> {
  const begun = Date.now();
  const command = simulation.hub.cli(['spanner', 'reassign', `spoke:${from}`, '--to', to, '--max-rate', rate, '--wait'], [0, 3]);
  let waiting = true;
  const pushing = (async () => {
    while (pushed && waiting) {
      await pause(1_000);
      await simulation.push();
    }
  })();
  await command;
  waiting = false;
  await pushing;
  const { items } = await simulation.hub.cliJson<{ items: Move[] }>(['spanner', 'moves', '--limit', '1000']);
  return items
    .filter(({ phase, started_at: at }) => phase === 'CONFIRMED' && Date.parse(at) >= begun)
    .map(({ started_at: at, ended_at: end }) => Date.parse(end ?? at) - Date.parse(at));
}

export const moves: Bench = {
  name: 'moves',
  ids: ['S7'],
  async run(context) {
    const count = context.quick ? 100 : 1_000;
    return withSimulation(options(context, 'moves', { envoys: count * 2, spokes: 2 }), async (simulation) => {
      await simulation.run();
      await pause(simulation.settleMs + INTERVAL_S * 1_100);
      context.say(`moves: ${count} at the interval`);
      const alone = await moveAll(simulation, 's1', 's2', '20/s', false);
      context.say('moves: everybody is woken each second');
      const pushed = await moveAll(simulation, 's2', 's1', '40/s', true);
      const figure = (id: string, what: string, value: number, floor: number, limit: number): Figure => ({
        id,
        what,
        value,
        unit: 'ms',
        floor: { what: 'the wait for the next check-in alone', value: floor },
        limit,
      });
      const interval = INTERVAL_S * 1_000;
      return [
        figure(
          'S7.p50',
          `move, from the journal's INTENT to the first check-in at the new spoke, median of ${alone.length}`,
          median(alone),
          interval / 2,
          interval,
        ),
        figure('S7.p99', 'the same, p99', p99(alone), interval, interval * 1.2),
        figure('S7.push.p50', `the same with envoys that are woken every second, median of ${pushed.length}`, median(pushed), 500, 2_000),
        {
          ...figure('S7.push.p99', 'the same, p99', p99(pushed), 1_000, 5_000),
          note: 'woken by the simulator, as a stream would: this build has no streams to push over',
        },
      ];
    });
  },
};
