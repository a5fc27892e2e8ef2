/** What a run did (config.md §5.4, §14): outcomes of resources and the report that carries them. */
import { z } from 'zod';

export const ACTIONS = ['none', 'created', 'updated', 'deleted', 'skipped', 'blocked', 'error'] as const;
export type Action = (typeof ACTIONS)[number];

export const changeSchema = z.object({ attribute: z.string(), from: z.json(), to: z.json() });

export const outcomeSchema = z.object({
  module: z.string(),
  name: z.string(),
  type: z.string(),
  action: z.enum(ACTIONS),
  /** machine field: when_false, guard, trigger_only, verify_failed … */
  reason: z.string().optional(),
  duration_ms: z.number().nonnegative(),
  triggered: z.boolean(),
  would: z.boolean(),
  /** what differed, attribute by attribute; empty for sensitive resources */
  changes: z.array(changeSchema),
  message: z.string().max(8192).optional(),
  output: z.string().max(32768).optional(),
});
export type Outcome = z.output<typeof outcomeSchema>;

export const RUN_MODES = ['enforce', 'observe', 'dry_run', 'undo'] as const;
export const PARTIALS = ['filtered', 'preempted', 'aborted', 'timeout'] as const;

/** Of what an envoy says, what becomes a column is held to the columns: one report must not spoil the batch, or the list, that others are in. */
const hexHash = z.string().regex(/^[0-9a-f]{0,64}$/);
/** within what a calendar can show */
const moment = z.number().min(0).max(253_402_300_799_999);

export const runReportSchema = z.object({
  run_id: z.string().regex(/^[\x21-\x7e]{1,64}$/),
  body_hash: hexHash,
  /** of the body that was enforced: another one resets the streak */
  policy_hash: hexHash.optional(),
  secrets_epoch: z.number().int().nonnegative().max(0xffff_ffff).optional(),
  release: z.number().int().nonnegative(),
  owner_epoch: z.number().int().nonnegative(),
  epoch: z.number().int().nonnegative(),
  seq: z.number().int().nonnegative(),
  /** milliseconds since 1970, on the agent's clock */
  started_at: moment,
  ended_at: moment,
  mode: z.enum(RUN_MODES),
  partial: z.enum(PARTIALS).optional(),
  flags: z.array(z.enum(['stale_bundle', 'no_policy', 'incomplete', 'clock_skew', 'truncated', 'held', 'vars_errors'])),
  outcomes: z.array(outcomeSchema),
  /** why the newest bundle was refused, if one was */
  bundle_rejected: z.string().optional(),
  dropped_results: z.number().int().nonnegative().optional(),
});
export type RunReport = z.output<typeof runReportSchema>;

/** The class of an action (config.md §5.4). */
export function classOf(action: Action): 'ok' | 'changed' | 'neutral' | 'blocked' | 'failed' {
  if (action === 'none') return 'ok';
  if (action === 'skipped') return 'neutral';
  if (action === 'blocked') return 'blocked';
  return action === 'error' ? 'failed' : 'changed';
}

export interface RunCounts {
  readonly ok: number;
  readonly changed: number;
  readonly failed: number;
  readonly blocked: number;
  readonly skipped: number;
}

export function countOutcomes(outcomes: readonly Pick<Outcome, 'action'>[]): RunCounts {
  const counts = { ok: 0, changed: 0, failed: 0, blocked: 0, skipped: 0 };
  for (const { action } of outcomes) {
    const kind = classOf(action);
    counts[kind === 'neutral' ? 'skipped' : kind] += 1;
  }
  return counts;
}
