/** What one run is made of: parts that outlive it, and the input that belongs to it alone. */
import type { Clock } from '../../core/base/clock.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Redactor } from '../../core/base/redaction.ts';
import type { Body } from '../../core/policy/body.ts';
import type { Outcome, RunCounts, RunReport } from '../../core/policy/outcome.ts';
import type { ProtectedSet } from '../../core/policy/protected.ts';
import type { Executor } from '../executors/executor.ts';
import type { SnapshotStore } from '../state/snapshots.ts';
import type { PendingTrigger, StateStore } from '../state/state-store.ts';
import type { Machine } from '../system/machine.ts';
import type { Attributes, EnvoyFacts } from './render.ts';
import type { SecretValues } from './secrets.ts';

/** Hears of a run while it goes on. */
export interface RunTrace {
  module(name: string): void;
  outcome(outcome: Outcome): void;
  done(counts: RunCounts, durationMs: number): void;
}

export interface ConvergeParts {
  readonly machine: Machine;
  readonly clock: Clock;
  readonly log: Logger;
  readonly redactor: Redactor;
  /** settled reverts and first-seen values */
  readonly memory: StateStore['memory'];
  readonly snapshots?: SnapshotStore | undefined;
  readonly trace?: RunTrace | undefined;
  /** default: agent/executors */
  readonly executorFor?: (type: string) => Executor | undefined;
  /** default: the install paths of the product */
  readonly protectedSet?: ProtectedSet | undefined;
}

export interface ConvergeInput {
  readonly runId: string;
  readonly body: Body;
  readonly bodyHash: string;
  readonly header: { readonly owner_epoch: number; readonly epoch: number; readonly seq: number };
  readonly envoy: Omit<EnvoyFacts, 'environment'>;
  readonly traits: Attributes;
  readonly mode: 'enforce' | 'observe' | 'dry_run';
  /** only this module. @throws CodedError BAD_REQUEST when the policy has none of that name */
  readonly module?: string | undefined;
  /** persisted by earlier runs */
  readonly triggers: readonly PendingTrigger[];
  /** asked once, before the first resource, with all references the run may read */
  readonly secrets: (refs: readonly string[]) => Promise<SecretValues>;
  /** known before the run: `stale_bundle`, `no_policy`, `clock_skew`, `held` */
  readonly flags?: RunReport['flags'] | undefined;
  readonly bundleRejected?: string | undefined;
  /** aborts what runs and everything after it */
  readonly signal: AbortSignal;
  /** true: somebody else wants to run; nothing new is started */
  readonly shouldYield?: (() => Promise<boolean>) | undefined;
}

export interface Converged {
  readonly report: RunReport;
  /** to be persisted; the same as came in for dry runs */
  readonly pendingTriggers: readonly PendingTrigger[];
  /** a resource changed what stable traits tell of */
  readonly traitsChanged: boolean;
}
