/** What a simulation is asked: a steady fleet, and a drain under load. Each answers figures and the lines that say them. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { type HistoryEvent, judgeHistory } from '../../test/harness/move-history.ts';
import type { Window } from './envoy-process.ts';
import type { SimServer } from './servers.ts';
import type { Simulation } from './simulation.ts';

interface Cost {
  readonly id: string;
  /** share of one core */
  readonly cpu: number;
  readonly rssMb: number;
}

export interface SteadyFigures {
  readonly perSecond: number;
  readonly window: Window;
  readonly cost: readonly Cost[];
  readonly lines: readonly string[];
}

/** CPU seconds of a process since its start (proc(5): utime and stime in ticks of 10 ms), and its memory. */
function usageOf({ pid }: SimServer): { readonly cpuS: number; readonly rssMb: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return { cpuS: (Number(fields[11]) + Number(fields[12])) / 100, rssMb: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024 };
}

const ms = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} ms`;

export async function steadyScenario(simulation: Simulation, seconds: number, say: (text: string) => void): Promise<SteadyFigures> {
  say('everybody comes for the first time');
  await simulation.run();
  await sleep(simulation.settleMs + simulation.intervalS * 1100);
  await simulation.window();
  say(`measuring ${seconds} s`);
  const servers = [simulation.hub, ...simulation.spokes];
  const before = servers.map(usageOf);
  await sleep(seconds * 1000);
  const window = await simulation.window();
  const cost = servers.map((server, index) => {
    const { cpuS, rssMb } = usageOf(server);
    return { id: server.id, cpu: (cpuS - before[index]!.cpuS) / window.seconds, rssMb };
  });
  const answered = Object.values(window.answered).reduce((sum, count) => sum + count, 0);
  const lines = [
    `steady: ${(answered / window.seconds).toFixed(0)} check-ins/s over ${window.seconds.toFixed(0)} s`,
    ...Object.entries(window.latency).map(([site, { p50, p99, max }]) => `  ${site}: p50 ${ms(p50)}, p99 ${ms(p99)}, longest ${ms(max)}`),
    ...cost.map(({ id, cpu, rssMb }) => `  ${id}: ${(cpu * 100).toFixed(0)} % of a core, ${rssMb.toFixed(0)} MB`),
    ...Object.entries(window.failed).map(([name, count]) => `  failed: ${name} ${count}`),
  ];
  return { perSecond: answered / window.seconds, window, cost, lines };
}

export interface DrainFigures {
  readonly moved: number;
  readonly seconds: number;
  /** check-in p99 of the spokes that were not drained, over that of the same spokes before, worst spoke */
  readonly p99Ratio: number;
  readonly idleP99Ms: number;
  readonly duringP99Ms: number;
  readonly lostResults: number;
  readonly faults: readonly string[];
  readonly lines: readonly string[];
}

/** What the envoys saw, as the checker of histories reads it; results are held against the stores apart from it. */
function toHistory(seen: readonly Readonly<Record<string, unknown>>[]): HistoryEvent[] {
  const events = seen.flatMap((event): HistoryEvent[] => {
    const envoy = String(event['envoy']);
    const [at, epoch] = [Number(event['at']), Number(event['ownerEpoch'])];
    if (event['kind'] === 'policy') {
      const place = { at, envoy, site: String(event['site']), epoch };
      return [
        { kind: 'served', ...place },
        { kind: 'obeyed', ...place },
      ];
    }
    return event['kind'] === 'redirected' ? [{ kind: 'led_away', at, envoy, site: String(event['from']), epoch }] : [];
  });
  return events.sort((a, b) => a.at - b.at);
}

/** Runs that the stores of all sites hold, by envoy and run. */
function storedRuns(servers: readonly SimServer[]): Set<string> {
  const found = new Set<string>();
  for (const { dataDir } of servers) {
    const db = new Database(`${dataDir}/db/vigo.db`, { readonly: true });
    for (const row of db.prepare('select subject, run_id from runs').iterate() as IterableIterator<{ subject: string; run_id: string }>)
      found.add(`${row.subject} ${row.run_id}`);
    db.close();
  }
  return found;
}

export async function drainScenario(simulation: Simulation, rate: string, say: (text: string) => void): Promise<DrainFigures> {
  const [leaving, ...staying] = simulation.spokes;
  if (leaving === undefined || staying.length === 0) throw new Error('a drain needs at least two spokes');
  const owned = (await simulation.places()).filter(({ site }) => site === leaving.id).length;
  await simulation.window();
  await sleep(Math.max(20, simulation.intervalS * 2) * 1000);
  const idle = await simulation.window();
  say(`draining ${leaving.id} (${owned} envoys) at ${rate} a minute`);
  const begun = performance.now();
  await simulation.hub.cli(['spanner', 'spoke', 'drain', leaving.id, '--max-rate', /\D/.test(rate) ? rate : `${rate}%/min`]);
  const seconds = (performance.now() - begun) / 1000;
  const during = await simulation.window();
  // the hub has committed all moves; each envoy hears of its own at its next check-in
  for (let waits = 0; waits < 8 && (await simulation.places()).some(({ site }) => site === leaving.id); waits++)
    await sleep(simulation.intervalS * 1000);
  const home = await simulation.window();
  await simulation.quiet();
  await sleep(2_000);
  const places = await simulation.places();
  const history = await simulation.history();
  const judged = judgeHistory(toHistory(history));
  const stored = storedRuns([simulation.hub, ...simulation.spokes]);
  const accepted = history.filter(({ kind, result }) => kind === 'reported' && (result === 'accepted' || result === 'duplicate'));
  const lost = accepted.filter(({ envoy, runId }) => !stored.has(`${String(envoy)} ${String(runId)}`)).length;
  const faults = [
    ...judged,
    ...(lost > 0 ? [`${lost} results were acknowledged and are in no store`] : []),
    ...(places.some(({ site }) => site === leaving.id)
      ? [`${places.filter(({ site }) => site === leaving.id).length} envoys are still at ${leaving.id}`]
      : []),
    ...(places.some(({ queued }) => queued > 0)
      ? [`${places.filter(({ queued }) => queued > 0).length} envoys hold results that nobody took`]
      : []),
  ];
  const ratios = staying.map(({ id }) => (during.latency[id]?.p99 ?? 0) / (idle.latency[id]?.p99 ?? Number.POSITIVE_INFINITY));
  const worst = (window: Window) => Math.max(...staying.map(({ id }) => window.latency[id]?.p99 ?? 0));
  const moved = places.filter(({ ownerEpoch }) => ownerEpoch > 1).length;
  const sorted = [...during.rehomed, ...home.rehomed].sort((a, b) => a - b);
  const lines = [
    `drain: ${moved} of ${owned} moved in ${seconds.toFixed(0)} s (${((moved / seconds) * 60).toFixed(0)} a minute)`,
    `  check-in p99 of the others: ${ms(worst(idle))} idle, ${ms(worst(during))} during, worst ratio ${Math.max(...ratios).toFixed(2)}`,
    `  from redirect to first policy at the new spoke: median ${ms(sorted[Math.floor(sorted.length / 2)] ?? 0)}, p99 ${ms(sorted[Math.floor(sorted.length * 0.99)] ?? 0)}`,
    `  results: ${accepted.length} acknowledged, ${lost} lost; double owners and other faults of the history: ${judged.length}`,
    ...faults.map((fault) => `  FAULT: ${fault}`),
  ];
  return {
    moved,
    seconds,
    p99Ratio: Math.max(...ratios),
    idleP99Ms: worst(idle),
    duringP99Ms: worst(during),
    lostResults: lost,
    faults,
    lines,
  };
}
