/** Convergence states and streaks (config.md §16): pure, from the previous record and one finished run. */

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
