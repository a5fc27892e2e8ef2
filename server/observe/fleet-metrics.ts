/** Keeps the fleet's figures: who fell silent (once a second), what the accepting threads counted, and gauges when somebody scrapes. */
import type { Clock } from '../../core/base/clock.ts';
import type { Logger } from '../../core/base/log.ts';
import { FLAG } from '../fleet/columns.ts';
import { classOfRun, ENVOY_STATES } from '../fleet/convergence.ts';
import type { FleetIndex } from '../fleet/fleet-index.ts';
import type { RunIntake } from '../fleet/run-intake.ts';
import { DURATION_BUCKETS, type FromWorker } from '../rpc/messages.ts';
import type { Store } from '../store/store.ts';
import type { Metrics } from './metrics.ts';

type Notice = Extract<FromWorker, { kind: 'counts' | 'event' }>;

export interface FleetSummary {
  readonly total: number;
  readonly active: number;
  readonly states: Readonly<Record<string, number>>;
  readonly noPolicy: number;
  readonly stale: number;
  readonly pending: number;
  readonly releases: ReadonlyMap<number, number>;
  /** converged ÷ (active − no data), null without any */
  readonly convergence: number | null;
}

/** Counts of the fleet now, revoked envoys left out (config.md §16.4). */
export function summarize(fleet: FleetIndex, now: number): FleetSummary {
  const states = Object.fromEntries([...ENVOY_STATES, 'observing'].map((state) => [state, 0])) as Record<string, number>;
  const releases = new Map<number, number>();
  const sums = { total: 0, active: 0, noPolicy: 0, stale: 0, pending: 0 };
  for (const slot of fleet.slots()) {
    const envoy = fleet.view(slot);
    if (envoy.revoked) continue;
    if (!envoy.active) {
      sums.pending += 1;
      continue;
    }
    sums.total += 1;
    if (now - envoy.lastSeen < 3_600_000) sums.active += 1;
    if ((envoy.flags & FLAG.noPolicy) !== 0) sums.noPolicy += 1;
    if ((envoy.flags & FLAG.stale) !== 0) sums.stale += 1;
    const badge =
      (envoy.flags & FLAG.observing) !== 0 && envoy.state !== 'offline' && envoy.state !== 'no_data' ? 'observing' : envoy.state;
    states[badge] = (states[badge] ?? 0) + 1;
    releases.set(envoy.release, (releases.get(envoy.release) ?? 0) + 1);
  }
  const judged = sums.total - (states['no_data'] ?? 0);
  return { ...sums, states, releases, convergence: judged === 0 ? null : (states['converged'] ?? 0) / judged };
}

/** Names of server.md §12.3. */
function eventOf({ event, text }: Extract<Notice, { kind: 'event' }>): string {
  if (event === 'regressed') return 'envoy.state_regressed';
  if (event === 'rejected') return 'envoy.bundle_rejected';
  return text.split(',').includes('equivocation') ? 'envoy.equivocation' : 'envoy.flagged';
}

export interface FleetObserver {
  notice(notice: Notice, thread: number): void;
  stop(): void;
}

/** What the metric `vigo_event_loop_delay_seconds` looks back on. */
const DELAY_WINDOW_MS = 10_000;

/** Enrolment tokens by state, of the newest thousand. */
async function countTokens(store: Store, metrics: Metrics, now: number): Promise<void> {
  const states = { active: 0, spent: 0, expired: 0, revoked: 0 };
  for (const { spent, revokedAt, expiresAt } of await store.tokens.list(1000)) {
    states[spent !== undefined ? 'spent' : revokedAt > 0 ? 'revoked' : expiresAt <= now ? 'expired' : 'active'] += 1;
  }
  for (const [state, count] of Object.entries(states)) metrics.set('vigo_tokens', count, { state });
}

export function observeFleet(parts: {
  readonly fleet: FleetIndex;
  readonly store: Store;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Logger;
  readonly intake: RunIntake;
  readonly intervalMs: number;
  readonly staleFactor: number;
}): FleetObserver {
  const { fleet, metrics, clock, log } = parts;
  /** longest delay of the accepting threads, a value a second each */
  const delays = new Map<number, { readonly at: number; readonly ms: number }[]>();
  const kept = new Map<number, number>();
  metrics.set('vigo_up_since_timestamp_seconds', Math.floor(clock.now() / 1000));
  const silence = setInterval(() => {
    const { offline, online } = fleet.judgeSilence(clock.now(), parts.staleFactor * parts.intervalMs);
    if (offline.length > 0) metrics.count('vigo_envoy_state_transitions_total', offline.length, { transition: 'offline' });
    if (online.length > 0) metrics.count('vigo_envoy_state_transitions_total', online.length, { transition: 'online' });
    for (const slot of offline.slice(0, 100))
      log.warn('an envoy is offline', { envoy_id: fleet.view(slot).id, hostname: fleet.hostname(slot) });
  }, 1000);
  silence.unref();
  const unsubscribe = parts.intake.onRun(({ report, before, after }) => {
    metrics.count('vigo_runs_total', 1, { class: classOfRun(report.outcomes), mode: report.mode });
    metrics.observe('vigo_run_duration_seconds', Math.max(0, report.ended_at - report.started_at) / 1000);
    for (const { action } of report.outcomes) metrics.count('vigo_results_total', 1, { action });
    if (before.runState !== after.runState && after.runState !== 'no_data')
      metrics.count('vigo_envoy_state_transitions_total', 1, { transition: after.runState });
  });
  metrics.onCollect(async () => {
    const summary = summarize(fleet, clock.now());
    metrics.set('vigo_nodes_total', summary.total, { kind: 'envoy' });
    metrics.set('vigo_nodes_active_total', summary.active);
    for (const [state, count] of Object.entries(summary.states)) metrics.set('vigo_envoys_state', count, { state });
    metrics.set('vigo_envoys_no_policy', summary.noPolicy);
    metrics.set('vigo_envoys_stale_bundle', summary.stale);
    metrics.set('vigo_envoys_pending', summary.pending);
    metrics.set('vigo_convergence_pct', summary.convergence ?? 0, { spoke: 'main' });
    metrics.reset('vigo_envoy_release_info');
    const newest = [...summary.releases].sort(([a], [b]) => b - a);
    for (const [index, [release, count]] of newest.entries())
      metrics.set('vigo_envoy_release_info', count, { release: index < 10 ? release : 'older' });
    metrics.set('vigo_index_entries', fleet.size);
    metrics.set('vigo_index_bytes', fleet.bytes);
    metrics.set('vigo_index_dirty', fleet.dirtyCount);
    metrics.set('vigo_database_size_bytes', await parts.store.sizeBytes());
    metrics.set('vigo_audit_size', await parts.store.audit.count());
    await countTokens(parts.store, metrics, clock.now());
    const checkpoint = await parts.store.checkpoints.newest();
    if (checkpoint !== undefined) metrics.set('vigo_audit_checkpoint_age_seconds', Math.max(0, clock.now() - checkpoint.time) / 1000);
  });
  return {
    notice(notice, thread) {
      if (notice.kind === 'event') {
        log.warn('an envoy reports trouble', { event: eventOf(notice), envoy_id: fleet.view(notice.slot).id, detail: notice.text });
        return;
      }
      for (const [status, count] of Object.entries(notice.checkIns)) {
        if (count === 0) continue;
        metrics.count('vigo_checkins_total', count, { status });
        metrics.count('vigo_requests_total', count, { service: 'agent', method: 'checkIn', code: 'OK' });
      }
      // the threads count per bucket; the upper bound stands for each of its values
      for (const [status, buckets] of Object.entries(notice.durations)) {
        for (const [index, count] of buckets.entries()) {
          for (let i = 0; i < count; i++) metrics.observe('vigo_checkin_duration_seconds', DURATION_BUCKETS[index] ?? 2, { status });
        }
      }
      kept.set(thread, notice.kept);
      metrics.set(
        'vigo_connections',
        [...kept.values()].reduce((sum, some) => sum + some, 0),
        { kind: 'agent_kept' },
      );
      metrics.set('vigo_event_loop_delay_seconds', notice.delayP99Ms / 1000, { thread, quantile: 'p99' });
      const now = clock.monotonic();
      const recent = (delays.get(thread) ?? []).filter(({ at }) => now - at <= DELAY_WINDOW_MS);
      recent.push({ at: now, ms: notice.delayMaxMs });
      delays.set(thread, recent);
      metrics.set('vigo_event_loop_delay_seconds', Math.max(...recent.map(({ ms }) => ms)) / 1000, { thread, quantile: 'max' });
    },
    stop() {
      clearInterval(silence);
      unsubscribe();
    },
  };
}
