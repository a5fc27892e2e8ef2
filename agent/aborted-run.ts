/** The report of a run that started and never ended: the process was killed in it. */
import type { BundleHeader } from '../core/policy/bundle.ts';
import type { RunReport } from '../core/policy/outcome.ts';

export function abortedRun(
  open: { readonly runId: string; readonly startedAt: number; readonly mode: string },
  header: Pick<BundleHeader, 'release' | 'owner_epoch' | 'epoch' | 'seq'>,
  body: { readonly sha256: string; readonly policyHash: string },
): RunReport {
  return {
    run_id: open.runId,
    body_hash: body.sha256,
    policy_hash: body.policyHash,
    release: header.release,
    owner_epoch: header.owner_epoch,
    epoch: header.epoch,
    seq: header.seq,
    started_at: open.startedAt,
    ended_at: open.startedAt,
    mode: open.mode === 'observe' || open.mode === 'dry_run' ? open.mode : 'enforce',
    partial: 'aborted',
    flags: [],
    outcomes: [],
  };
}
