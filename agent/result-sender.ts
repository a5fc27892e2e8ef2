/** Reports: durable before they are sent, drained oldest first, a heartbeat instead of the same clean report again (config.md §15.5, §15.7). */

import { CodedError } from '../core/base/errors.ts';
import { canonicalJson } from '../core/base/json.ts';
import { sha256Hex } from '../core/policy/bundle.ts';
import { classOf, type Outcome, type RunReport } from '../core/policy/outcome.ts';
import type { ServerLink } from './link/server-link.ts';
import { heldAuthority } from './policy-intake.ts';
import type { StateStore } from './state/state-store.ts';

const BATCH_RUNS = 50;
const BATCH_BYTES = 3 * 1024 * 1024;
const MAX_UNKEPT = 50;
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

const bytesOf = (report: RunReport) => Buffer.byteLength(JSON.stringify(report));
const isFailed = ({ action }: Outcome) => action === 'error' || action === 'blocked';
const whole = () => true;
/** What a report that is too large loses, in this order: a server would refuse it for good, and what waits behind it with it. */
const LOSSES: readonly (readonly [keyof Outcome, (outcome: Outcome) => boolean])[] = [
  ['output', (outcome) => !isFailed(outcome)],
  ['message', (outcome) => !isFailed(outcome)],
  ['changes', (outcome) => !isFailed(outcome)],
  ['output', whole],
  ['changes', whole],
  ['message', whole],
];

/** Resources lose what explains them, unfailed ones first, until the report fits. */
export function trimmed(report: RunReport): RunReport {
  let result = report;
  for (const [field, losesIt] of LOSSES) {
    if (bytesOf(result) <= MAX_REPORT_BYTES) return result;
    const outcomes = result.outcomes.map((outcome) =>
      losesIt(outcome) ? { ...outcome, [field]: field === 'changes' ? [] : undefined } : outcome,
    );
    result = { ...result, flags: [...new Set([...result.flags, 'truncated' as const])], outcomes };
  }
  return result;
}

export class ResultSender {
  readonly #state: StateStore;
  readonly #cacheCycles: number;
  /** runs that found the disk full */
  #unkept: readonly RunReport[] = [];
  #last: { readonly hash: string; beats: number } | undefined;

  constructor(state: StateStore, cacheCycles: number) {
    this.#state = state;
    this.#cacheCycles = cacheCycles;
  }

  /** Sends what waits, oldest first. @throws CodedError what the link throws: the rest stays queued */
  async drain(link: ServerLink, signal: AbortSignal): Promise<void> {
    for (const run of this.#unkept) {
      if (!(await this.#queued(run, link))) await link.report([run], undefined, signal);
      this.#unkept = this.#unkept.slice(1);
    }
    for (;;) {
      const runs = this.#state.results.pending(BATCH_RUNS, BATCH_BYTES);
      if (runs.length === 0) return;
      await this.#hand(runs, link, signal);
      // refused ones would be refused again: they go as well
      await this.#state.results.forget(runs.map(({ run_id }) => run_id));
    }
  }

  /** A report that the server will never take is dropped and counted: one bad run must not keep those behind it, and the check-in, for ever. */
  async #hand(runs: readonly RunReport[], link: ServerLink, signal: AbortSignal): Promise<void> {
    try {
      await link.report(runs, undefined, signal);
    } catch (thrown) {
      if (!(thrown instanceof CodedError) || (thrown.code !== 'TOO_LARGE' && thrown.code !== 'BAD_REQUEST')) throw thrown;
      if (runs.length > 1) for (const run of runs) await this.#hand([run], link, signal);
      else await this.#state.facts.set('droppedResults', (this.#state.facts.get('droppedResults') ?? 0) + 1);
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
    if (link !== undefined && this.#state.results.count() === 0) {
      try {
        if (await this.#beat(run, hash, link, signal)) return;
      } catch (thrown) {
        // the heartbeat did not arrive, so nothing stands for the run: it waits like any other
        this.#last = undefined;
        await this.keep(run);
        throw thrown;
      }
    }
    const queued = await this.#queued(run, link);
    if (link === undefined) {
      this.#last = undefined;
      return;
    }
    const results = await link.report([run], hash, signal);
    if (queued) await this.#state.results.forget([run.run_id]);
    this.#last = results[0] === 'accepted' || results[0] === 'duplicate' ? { hash, beats: 0 } : undefined;
  }

  /** False when the state store is full: the report waits in memory, and while the server is there it can still be sent. */
  async #queued(run: RunReport, link: ServerLink | undefined): Promise<boolean> {
    try {
      await this.keep(run);
      return true;
    } catch (thrown) {
      if (!(thrown instanceof CodedError) || thrown.code !== 'STORE_FULL') throw thrown;
      if (link !== undefined) return false;
      this.#unkept = [...this.#unkept, run].slice(-MAX_UNKEPT);
      throw thrown;
    }
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
