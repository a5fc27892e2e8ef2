/** Convergence states and streaks (config.md §16): pure, from the previous record and one finished run. */
import { classOf, countOutcomes, type Outcome, type RunReport } from '../../core/policy/outcome.ts';

export const RUN_STATES = ['no_data', 'converged', 'relapsed', 'diverged', 'degraded', 'failed'] as const;
/** The state of the newest counted run; offline is a matter of time and lies over it. */
export type RunState = (typeof RUN_STATES)[number];

export const DRIFTS = ['none', 'changed', 'repeated'] as const;
export type Drift = (typeof DRIFTS)[number];

/** What is remembered of all counted runs of one envoy. */
export interface ConvergenceRecord {
  readonly runState: RunState;
  /** which of the two forms of diverged */
  readonly detail: '' | 'blocked' | 'repeated';
  readonly streak: number;
  /** the next changing run is a rollout, not a drift */
  readonly resetPending: boolean;
  readonly drift: Drift;
  readonly clean: boolean;
  /** policy hash and secrets epoch of the newest counted run; another value resets the streak */
  readonly countedPolicy: string;
  readonly countedEpoch: number;
  /** end of the newest counted run, milliseconds since 1970 */
  readonly countedAt: number;
}

export const ENVOY_STATES = [...RUN_STATES, 'offline'] as const;
export type EnvoyState = (typeof ENVOY_STATES)[number];

/** Before the first counted run, and after enrolment. */
export function noRuns(): ConvergenceRecord {
  return {
    runState: 'no_data',
    detail: '',
    streak: 0,
    resetPending: true,
    drift: 'none',
    clean: false,
    countedPolicy: '',
    countedEpoch: 0,
    countedAt: 0,
  };
}

/** Forced push, or observe mode ended: the next changing run is no drift. */
export function withReset(record: ConvergenceRecord): ConvergenceRecord {
  return { ...record, resetPending: true };
}

/** Partial, observing, dry and undoing runs, and runs that lacked their secrets, change no state. */
export function isCounted(report: Pick<RunReport, 'mode' | 'partial' | 'flags'>): boolean {
  return report.mode === 'enforce' && report.partial === undefined && !report.flags.includes('incomplete');
}

export type RunClass = 'clean' | 'changed' | 'failed';

export function classOfRun(outcomes: readonly Pick<Outcome, 'action'>[]): RunClass {
  const counts = countOutcomes(outcomes);
  if (counts.failed + counts.blocked > 0) return 'failed';
  return counts.changed > 0 ? 'changed' : 'clean';
}

/** What one run says by itself, streak aside. */
function resultOf(outcomes: readonly Pick<Outcome, 'action' | 'module'>[]): 'blocked' | 'failed' | 'degraded' | 'good' {
  const counts = countOutcomes(outcomes);
  if (counts.blocked > 0 && counts.failed === 0) return 'blocked';
  const modules = new Map<string, 'bad' | 'ok'>();
  for (const { module, action } of outcomes) {
    const kind = classOf(action);
    if (kind === 'failed' || kind === 'blocked') modules.set(module, 'bad');
    else if (kind !== 'neutral' && !modules.has(module)) modules.set(module, 'ok');
  }
  const results = new Set(modules.values());
  if (!results.has('bad')) return 'good';
  return results.has('ok') ? 'degraded' : 'failed';
}

/** The record after one finished run. `policy` and `secretsEpoch` are those of the body that the run enforced. Runs are given in order of arrival. */
export function afterRun(
  before: ConvergenceRecord,
  report: Pick<RunReport, 'mode' | 'partial' | 'flags' | 'outcomes' | 'ended_at'>,
  body: { readonly policy: string; readonly secretsEpoch: number },
): ConvergenceRecord {
  if (!isCounted(report)) return before;
  const reset = before.resetPending || before.countedPolicy !== body.policy || before.countedEpoch !== body.secretsEpoch;
  const kind = classOfRun(report.outcomes);
  const held = reset ? 0 : before.streak;
  const streak = kind === 'clean' ? 0 : kind === 'changed' && !reset ? held + 1 : held;
  const result = resultOf(report.outcomes);
  const runState: RunState =
    result === 'blocked' ? 'diverged' : result !== 'good' ? result : streak >= 3 ? 'diverged' : streak === 2 ? 'relapsed' : 'converged';
  return {
    runState,
    detail: runState !== 'diverged' ? '' : result === 'blocked' ? 'blocked' : 'repeated',
    streak,
    // a rollout that failed goes on: the run that finishes it is still part of it
    resetPending: reset && kind === 'failed',
    drift: streak === 0 ? 'none' : streak === 1 ? 'changed' : 'repeated',
    clean: kind === 'clean',
    countedPolicy: body.policy,
    countedEpoch: body.secretsEpoch,
    countedAt: report.ended_at,
  };
}

/** Offline lies over the state of the newest run; an envoy without a run has no data even when silent. */
export function stateAt(record: ConvergenceRecord, lastSeen: number, now: number, intervalMs: number, staleFactor: number): EnvoyState {
  if (record.runState === 'no_data') return 'no_data';
  return now - lastSeen > staleFactor * intervalMs ? 'offline' : record.runState;
}
