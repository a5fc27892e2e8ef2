/** Reports: durable before they are sent, drained oldest first, a heartbeat instead of the same clean report again (config.md §15.5, §15.7). */

import { canonicalJson } from '../core/base/json.ts';
import { sha256Hex } from '../core/policy/bundle.ts';
import { classOf, type RunReport } from '../core/policy/outcome.ts';
import type { ServerLink } from './link/server-link.ts';
import { heldAuthority } from './policy-intake.ts';
import type { StateStore } from './state/state-store.ts';

const BATCH_RUNS = 50;
const BATCH_BYTES = 3 * 1024 * 1024;
const MAX_REPORT_BYTES = 3 * 1024 * 1024;

/** What makes two runs the same: actions, reasons, names, body. */
function resultHash(report: RunReport): string {
  const outcomes = report.outcomes.map(({ module, name, type, action, reason, triggered, would }) => ({
    module,
    name,
    type,
    action,
    reason,
    triggered,
    would,
  }));
  return sha256Hex(canonicalJson({ body: report.body_hash, mode: report.mode, partial: report.partial, flags: report.flags, outcomes }));
}

function isClean(report: RunReport): boolean {
  return report.partial === undefined && report.outcomes.every(({ action }) => classOf(action) === 'ok' || classOf(action) === 'neutral');
}

/** Unfailed resources lose output, then message, until the report fits. */
function trimmed(report: RunReport): RunReport {
  let result = report;
  for (const field of ['output', 'message'] as const) {
    if (JSON.stringify(result).length <= MAX_REPORT_BYTES) return result;
    const outcomes = result.outcomes.map((outcome) =>
      outcome.action === 'error' || outcome.action === 'blocked' ? outcome : { ...outcome, [field]: undefined },
    );
    result = { ...result, flags: [...new Set([...result.flags, 'truncated' as const])], outcomes };
  }
  return result;
}

export class ResultSender {
  readonly #state: StateStore;
  readonly #cacheCycles: number;
  #last: { readonly hash: string; beats: number } | undefined;

  constructor(state: StateStore, cacheCycles: number) {
    this.#state = state;
    this.#cacheCycles = cacheCycles;
  }

  /** Sends what waits, oldest first. @throws CodedError what the link throws: the rest stays queued */
  async drain(link: ServerLink, signal: AbortSignal): Promise<void> {
    for (;;) {
      const runs = this.#state.results.pending(BATCH_RUNS, BATCH_BYTES);
      if (runs.length === 0) return;
      await link.report(runs, undefined, signal);
      // refused ones would be refused again: they go as well
      await this.#state.results.forget(runs.map(({ run_id }) => run_id));
    }
  }

  /** Queues without sending. */
  async keep(report: RunReport): Promise<void> {
    const authority = heldAuthority(this.#state);
    await this.#state.results.queue(trimmed(report), {
      maxRuns: authority?.queue_max_runs ?? 1_000,
      maxBytes: authority?.queue_max_size ?? 50 * 1024 * 1024,
    });
  }

  /** Queues and, when the server is there, sends. A failure to send leaves the run in the queue. */
  async deliver(report: RunReport, link: ServerLink | undefined, signal: AbortSignal): Promise<void> {
    const run = trimmed(report);
    const hash = resultHash(run);
    if (link !== undefined && this.#state.results.count() === 0 && (await this.#beat(run, hash, link, signal))) return;
    const authority = heldAuthority(this.#state);
    await this.#state.results.queue(run, {
      maxRuns: authority?.queue_max_runs ?? 1_000,
      maxBytes: authority?.queue_max_size ?? 50 * 1024 * 1024,
    });
    if (link === undefined) {
      this.#last = undefined;
      return;
    }
    const results = await link.report([run], hash, signal);
    await this.#state.results.forget([run.run_id]);
    this.#last = results[0] === 'accepted' || results[0] === 'duplicate' ? { hash, beats: 0 } : undefined;
  }

  /** True when a heartbeat stood for the report. */
  async #beat(run: RunReport, hash: string, link: ServerLink, signal: AbortSignal): Promise<boolean> {
    const last = this.#last;
    if (last === undefined || last.hash !== hash || last.beats >= this.#cacheCycles || !isClean(run)) return false;
    const [result] = await link.report([], hash, signal);
    if (result !== 'accepted') {
      this.#last = undefined;
      return false;
    }
    last.beats += 1;
    return true;
  }
}
