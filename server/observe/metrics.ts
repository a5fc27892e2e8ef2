/**
 * All metrics of the server in one table (server.md §12.1). Label values come from fixed sets; anything else becomes `other`, so that neither an
 * agent nor a client can make series.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

interface Row {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** label name → its values; 'code' and 'number' are bounded by their form instead */
  readonly labels?: Readonly<Record<string, readonly string[] | 'code' | 'number' | 'name'>>;
  readonly buckets?: readonly number[];
}

const MICRO = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];
const LATENCY = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30];
const SIZES = [1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 8_388_608];
const STATES = ['converged', 'relapsed', 'diverged', 'degraded', 'failed', 'offline', 'no_data', 'observing'];
const CHECKIN = ['no_change', 'renew', 'bundle', 'no_policy', 'redirect', 'wait', 'error'];
const ACTIONS = ['none', 'created', 'updated', 'deleted', 'skipped', 'blocked', 'error'];
const MOVES = ['INTENT', 'READY', 'COMMITTED', 'CONFIRMED', 'UNDONE'];
const STATEMENTS = ['read', 'write', 'transaction'];

// biome-ignore format: one row a metric reads as a table
export const METRICS = {
  vigo_build_info: { kind: 'gauge', help: '1, with the version', labels: { version: 'name', role: ['standalone', 'hub', 'spoke'] } },
  vigo_up_since_timestamp_seconds: { kind: 'gauge', help: 'process start' },
  vigo_nodes_total: { kind: 'gauge', help: 'enrolled, not revoked', labels: { kind: ['envoy', 'device'] } },
  vigo_nodes_active_total: { kind: 'gauge', help: 'seen in the last hour' },
  vigo_envoys_state: { kind: 'gauge', help: 'envoys by state', labels: { state: STATES } },
  vigo_envoys_no_policy: { kind: 'gauge', help: 'envoys that no entry matches' },
  vigo_envoys_pending: { kind: 'gauge', help: 'enrolments that wait for an admin' },
  vigo_convergence_pct: { kind: 'gauge', help: 'converged share of the active fleet, 0.0 to 1.0', labels: { spoke: 'name' } },
  vigo_envoy_state_transitions_total: { kind: 'counter', help: 'changes of state', labels: { transition: ['offline', 'online', 'relapsed', 'diverged', 'failed', 'degraded', 'converged'] } },
  vigo_envoy_release_info: { kind: 'gauge', help: 'envoys enforcing each of the newest releases', labels: { release: 'number' } },
  vigo_envoys_stale_bundle: { kind: 'gauge', help: 'envoys converging on an over-age bundle' },
  vigo_checkins_total: { kind: 'counter', help: 'check-ins by answer', labels: { status: CHECKIN } },
  vigo_checkin_duration_seconds: { kind: 'histogram', help: 'server time of a check-in', labels: { status: CHECKIN }, buckets: MICRO },
  vigo_checkin_refused_total: { kind: 'counter', help: 'check-ins refused', labels: { code: 'code' } },
  vigo_signature_failures_total: { kind: 'counter', help: 'requests that did not authenticate', labels: { code: 'code' } },
  vigo_redirects_total: { kind: 'counter', help: 'agents led to the owner of their envoy' },
  vigo_replays_total: { kind: 'counter', help: 'replayed requests' },
  vigo_clock_skew_total: { kind: 'counter', help: 'requests outside the clock window' },
  vigo_connections: { kind: 'gauge', help: 'open connections', labels: { kind: ['agent_kept', 'stream', 'tunnel', 'spoke', 'peer', 'rest'] } },
  vigo_requests_total: { kind: 'counter', help: 'gRPC requests', labels: { service: ['agent', 'spanner', 'peer'], method: 'name', code: 'code' } },
  vigo_http_requests_total: { kind: 'counter', help: 'HTTP requests by route template', labels: { route: 'name', method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD'], status: 'number' } },
  vigo_http_request_duration_seconds: { kind: 'histogram', help: 'HTTP requests by route template', labels: { route: 'name' }, buckets: LATENCY },
  vigo_rate_limited_total: { kind: 'counter', help: 'requests above a rate limit', labels: { bucket: ['enroll', 'other'] } },
  vigo_results_total: { kind: 'counter', help: 'resource outcomes', labels: { action: ACTIONS } },
  vigo_runs_total: { kind: 'counter', help: 'finished runs', labels: { class: ['clean', 'changed', 'failed'], mode: ['enforce', 'observe', 'dry_run', 'undo'] } },
  vigo_run_duration_seconds: { kind: 'histogram', help: 'runs, as reported', buckets: [0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600] },
  vigo_enrollments_total: { kind: 'counter', help: 'enrolments', labels: { result: 'code' } },
  vigo_tokens: { kind: 'gauge', help: 'enrolment tokens', labels: { state: ['active', 'spent', 'expired', 'revoked'] } },
  vigo_revocations_total: { kind: 'counter', help: 'envoys revoked' },
  vigo_release_number: { kind: 'gauge', help: 'live release' },
  vigo_publishes_total: { kind: 'counter', help: 'publishes', labels: { result: ['live', 'pending', 'nothing', 'refused', 'failed', 'rolled_back'] } },
  vigo_publish_duration_seconds: { kind: 'histogram', help: 'publish steps', labels: { step: ['total'] }, buckets: LATENCY },
  vigo_publish_findings_total: { kind: 'counter', help: 'validation findings', labels: { severity: ['error', 'warning', 'info'] } },
  vigo_bundle_size_bytes: { kind: 'histogram', help: 'bundle bodies', buckets: SIZES },
  vigo_secrets_resolved_total: { kind: 'counter', help: 'secret references answered', labels: { status: ['ok', 'denied', 'missing', 'unavailable'] } },
  vigo_secrets_provider_up: { kind: 'gauge', help: '1 while the provider answers', labels: { provider: ['local', 'vault', 'command', 'file'] } },
  vigo_secrets_epoch: { kind: 'gauge', help: 'newest secrets epoch' },
  vigo_index_entries: { kind: 'gauge', help: 'envoys in the fleet index' },
  vigo_index_bytes: { kind: 'gauge', help: 'size of the fleet index' },
  vigo_index_dirty: { kind: 'gauge', help: 'envoys that wait to be stored' },
  vigo_index_flush_seconds: { kind: 'histogram', help: 'storing one batch', buckets: LATENCY },
  vigo_database_size_bytes: { kind: 'gauge', help: 'size of the database' },
  vigo_database_query_seconds: { kind: 'histogram', help: 'store calls', labels: { statement: STATEMENTS }, buckets: LATENCY },
  vigo_database_errors_total: { kind: 'counter', help: 'failed store calls', labels: { kind: 'code' } },
  vigo_event_loop_delay_seconds: { kind: 'gauge', help: 'delay of the event loop in the last 10 s', labels: { thread: 'number', quantile: ['p50', 'p99', 'max'] } },
  vigo_audit_size: { kind: 'gauge', help: 'records in the audit log' },
  vigo_audit_checkpoint_age_seconds: { kind: 'gauge', help: 'age of the newest checkpoint' },
  vigo_audit_verify_failures_total: { kind: 'counter', help: 'findings of audit verification' },
  vigo_moves_total: { kind: 'counter', help: 'moves of envoys that reached a phase', labels: { phase: MOVES } },
  vigo_moves_open: { kind: 'gauge', help: 'moves of envoys that are not confirmed', labels: { phase: MOVES } },
  vigo_move_seconds: { kind: 'histogram', help: 'a move from its intent until the envoy was seen at its new site', buckets: [0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600] },
  vigo_drain_remaining: { kind: 'gauge', help: 'envoys that a draining spoke has yet', labels: { spoke: 'name' } },
  vigo_owner_epoch_max: { kind: 'gauge', help: 'highest owner epoch in the roster' },
  vigo_fanout_seconds: { kind: 'histogram', help: 'answers of spokes to questions about the fleet', labels: { spoke: 'name' }, buckets: LATENCY },
  vigo_fanout_incomplete_total: { kind: 'counter', help: 'questions about the fleet that a spoke did not answer', labels: { spoke: 'name' } },
  vigo_spoke_release_lag: { kind: 'gauge', help: 'releases a spoke is behind', labels: { spoke: 'name' } },
  vigo_spoke_up: { kind: 'gauge', help: '1 while the link to the spoke is up', labels: { spoke: 'name' } },
  vigo_spoke_link_rtt_seconds: { kind: 'gauge', help: 'time a heartbeat takes there and back', labels: { spoke: 'name' } },
  vigo_spoke_clock_offset_seconds: { kind: 'gauge', help: 'clock of the spoke minus that of the hub', labels: { spoke: 'name' } },
  vigo_spoke_envoys: { kind: 'gauge', help: 'envoys of the spoke, as it says itself', labels: { spoke: 'name' } },
  vigo_spoke_convergence_pct: { kind: 'gauge', help: 'converged share of the spoke, 0.0 to 1.0', labels: { spoke: 'name' } },
  vigo_metrics_dropped_series_total: { kind: 'counter', help: 'label sets beyond the limit' },
} as const satisfies Record<string, Row>;

export type MetricName = keyof typeof METRICS;
type NamesOf<K extends Row['kind']> = { [N in MetricName]: (typeof METRICS)[N]['kind'] extends K ? N : never }[MetricName];
type LabelsOf<N extends MetricName> = (typeof METRICS)[N] extends { readonly labels: infer L }
  ? { readonly [K in keyof L]: string | number }
  : undefined;
/** Metrics without labels take none; all others take all of theirs. */
type LabelArgs<N extends MetricName> = LabelsOf<N> extends undefined ? [] : [labels: LabelsOf<N>];

export interface Metrics {
  count<N extends NamesOf<'counter'>>(name: N, by: number, ...labels: LabelArgs<N>): void;
  set<N extends NamesOf<'gauge'>>(name: N, value: number, ...labels: LabelArgs<N>): void;
  observe<N extends NamesOf<'histogram'>>(name: N, seconds: number, ...labels: LabelArgs<N>): void;
  /** before a gauge with changing label values is set anew */
  reset(name: NamesOf<'gauge'>): void;
  /** runs before each text */
  onCollect(update: () => void | Promise<void>): void;
  text(): Promise<string>;
  readonly contentType: string;
}

const MAX_SERIES = 10_000;
const CODE = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;
const NUMBER = /^\d{1,16}$|^older$/;
/** configured names and route templates: at most this many different ones a label */
const MAX_NAMES = 500;

type Limits = NonNullable<Row['labels']>[string];

/** The label value, or `other` when it is none of the allowed ones. */
function bounded(limits: Limits, value: string, seen: Set<string>): string {
  const allowed =
    typeof limits === 'object' ? limits.includes(value) : limits === 'code' ? CODE.test(value) : limits !== 'number' || NUMBER.test(value);
  if (!allowed || value.length > 200) return 'other';
  if (typeof limits === 'object' || seen.has(value)) return value;
  if (seen.size >= MAX_NAMES) return 'other';
  seen.add(value);
  return value;
}

export function createMetrics(options: { readonly process: boolean } = { process: true }): Metrics {
  const registry = new Registry();
  if (options.process) collectDefaultMetrics({ register: registry });
  const metrics = new Map<string, Counter | Gauge | Histogram>();
  const seen = new Map<string, Set<string>>();
  const series = new Set<string>();
  const updates: (() => void | Promise<void>)[] = [];
  for (const [name, row] of Object.entries(METRICS) as [MetricName, Row][]) {
    const shared = { name, help: row.help, labelNames: Object.keys(row.labels ?? {}), registers: [registry] };
    if (row.kind === 'counter') metrics.set(name, new Counter(shared));
    else if (row.kind === 'gauge') metrics.set(name, new Gauge(shared));
    else metrics.set(name, new Histogram({ ...shared, buckets: [...(row.buckets ?? LATENCY)] }));
  }
  const labelsFor = (name: MetricName, labels: Readonly<Record<string, string | number>> | undefined): Record<string, string> => {
    const limits: NonNullable<Row['labels']> = (METRICS[name] as Row).labels ?? {};
    const result: Record<string, string> = {};
    for (const [label, allowed] of Object.entries(limits)) {
      const key = `${name} ${label}`;
      const known = seen.get(key) ?? new Set<string>();
      seen.set(key, known);
      result[label] = bounded(allowed, String(labels?.[label] ?? ''), known);
    }
    const id = `${name}${JSON.stringify(result)}`;
    if (series.has(id)) return result;
    if (series.size < MAX_SERIES) {
      series.add(id);
      return result;
    }
    (metrics.get('vigo_metrics_dropped_series_total') as Counter).inc();
    return Object.fromEntries(Object.keys(result).map((label) => [label, 'other']));
  };
  return {
    count: (name, by, ...labels) => (metrics.get(name) as Counter).inc(labelsFor(name, labels[0]), by),
    set: (name, value, ...labels) => (metrics.get(name) as Gauge).set(labelsFor(name, labels[0]), value),
    observe: (name, seconds, ...labels) => (metrics.get(name) as Histogram).observe(labelsFor(name, labels[0]), seconds),
    reset: (name) => (metrics.get(name) as Gauge).reset(),
    onCollect: (update) => void updates.push(update),
    async text() {
      for (const update of updates) await update();
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}
