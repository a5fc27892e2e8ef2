/** A process of many virtual envoys: each comes at its own time, on a connection of its own. Asked over IPC for figures and history. */
import { readFileSync, writeFileSync } from 'node:fs';
import { type Credentials, type Fleet, type Place, type SimEvent, VirtualEnvoy } from './virtual-envoy.ts';

/** The file that says who lives here. */
export interface Population {
  readonly fleet: Fleet;
  readonly envoys: readonly { readonly who: Credentials; readonly place: Place }[];
  readonly reportEvery: number;
  /** the first check-ins are spread over this */
  readonly spreadMs: number;
}

/** Since the window before. */
export interface Window {
  readonly seconds: number;
  /** check-ins answered, by site */
  readonly answered: Readonly<Record<string, number>>;
  /** milliseconds, by site */
  readonly latency: Readonly<Record<string, { readonly p50: number; readonly p99: number; readonly max: number }>>;
  readonly failed: Readonly<Record<string, number>>;
  readonly redirected: number;
  /** from the redirect to the first policy at the new owner, milliseconds */
  readonly rehomed: readonly number[];
}

export type Question =
  | { readonly ask: 'window' }
  | { readonly ask: 'places' }
  | { readonly ask: 'history'; readonly file: string }
  | { readonly ask: 'push' }
  | { readonly ask: 'quiet' };

const RETRY_MS = 1_000;
const population = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Population;
let opened = performance.now();
let latencies = new Map<string, number[]>();
let failed = new Map<string, number>();
let redirected = 0;
let rehomed: number[] = [];
const movedAt = new Map<string, number>();
/** what the checker of the history reads: who answered policy to whom, when that changed, and which results were taken where */
const history: object[] = [];
const lastPolicy = new Map<string, string>();
let quiet = false;

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function note(envoy: string, event: SimEvent): void {
  if (event.kind === 'answered') {
    const list = latencies.get(event.site) ?? [];
    list.push(event.ms);
    latencies.set(event.site, list);
  } else if (event.kind === 'failed') {
    const name = `${event.site} ${event.code}`;
    failed.set(name, (failed.get(name) ?? 0) + 1);
  } else if (event.kind === 'redirected') {
    redirected += 1;
    movedAt.set(envoy, performance.now());
    history.push({ envoy, ...event });
  } else if (event.kind === 'policy') {
    const place = `${event.site} ${event.ownerEpoch}`;
    if (lastPolicy.get(envoy) === place) return;
    lastPolicy.set(envoy, place);
    const since = movedAt.get(envoy);
    movedAt.delete(envoy);
    if (since !== undefined) rehomed.push(performance.now() - since);
    history.push({ envoy, ...event });
  } else history.push({ envoy, ...event });
}

const envoys = population.envoys.map(
  ({ who, place }) =>
    new VirtualEnvoy({ who, place, fleet: population.fleet, reportEvery: population.reportEvery, note: (event) => note(who.id, event) }),
);
const timers = new Map<VirtualEnvoy, NodeJS.Timeout>();

function schedule(envoy: VirtualEnvoy, ms: number): void {
  timers.set(
    envoy,
    setTimeout(() => void live(envoy), ms),
  );
}

async function live(envoy: VirtualEnvoy): Promise<void> {
  if (quiet) return;
  const begun = performance.now();
  const { nextMs, jitterPct, waitS } = await envoy.cycle();
  const interval = nextMs * (1 + ((Math.random() * 2 - 1) * jitterPct) / 100);
  const pause = waitS > 0 ? waitS * 1000 : nextMs === 0 ? RETRY_MS * (1 + Math.random() * 4) : interval - (performance.now() - begun);
  schedule(envoy, Math.max(10, pause));
}

function windowNow(): Window {
  const now = performance.now();
  const seconds = (now - opened) / 1000;
  opened = now;
  const latency: Record<string, { p50: number; p99: number; max: number }> = {};
  const answered: Record<string, number> = {};
  for (const [site, list] of latencies) {
    list.sort((a, b) => a - b);
    latency[site] = { p50: percentile(list, 0.5), p99: percentile(list, 0.99), max: list.at(-1) ?? 0 };
    answered[site] = list.length;
  }
  const result = { seconds, answered, latency, failed: Object.fromEntries(failed), redirected, rehomed };
  latencies = new Map();
  failed = new Map();
  redirected = 0;
  rehomed = [];
  return result;
}

/** What an agent stream would bring: everybody comes at once, a little apart. */
function push(): number {
  for (const envoy of envoys) {
    clearTimeout(timers.get(envoy));
    schedule(envoy, Math.random() * 1_000);
  }
  return envoys.length;
}

function answer(question: Question): unknown {
  if (question.ask === 'window') return windowNow();
  if (question.ask === 'push') return push();
  if (question.ask === 'places')
    return envoys.map((envoy) => ({ id: envoy.id, site: envoy.place.siteId, ownerEpoch: envoy.place.ownerEpoch, queued: envoy.queued }));
  if (question.ask === 'quiet') {
    quiet = true;
    for (const timer of timers.values()) clearTimeout(timer);
    return true;
  }
  writeFileSync(question.file, history.map((event) => `${JSON.stringify(event)}\n`).join(''));
  return history.length;
}

process.on('message', (question: Question) => process.send?.({ answer: answer(question) }));
process.once('SIGTERM', () => process.exit(0));
for (const envoy of envoys) schedule(envoy, Math.random() * population.spreadMs);
process.send?.({ answer: 'ready' });
