/** Takes run reports: checked, written in one transaction for many, then judged. Nothing is acknowledged before it is durable. */
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { EnvoyId } from '../../core/base/ids.ts';
import { parseForeignJson } from '../../core/base/json.ts';
import { type RunReport, runReportSchema } from '../../core/policy/outcome.ts';
import { runKey, type Store, type StoredRun } from '../store/store.ts';
import { FLAG } from './columns.ts';
import { afterRun, type ConvergenceRecord } from './convergence.ts';
import type { EnvoyView, FleetIndex } from './fleet-index.ts';

export type ReportResult = 'accepted' | 'duplicate' | 'unknown_result' | 'refused';

/** A run that is stored, for those who watch. */
export interface FinishedRun {
  readonly envoyId: EnvoyId;
  readonly hostname: string;
  readonly report: RunReport;
  readonly receivedAt: number;
  readonly before: ConvergenceRecord;
  readonly after: ConvergenceRecord;
}

interface Waiting {
  readonly runs: readonly StoredRun[];
  readonly slot: number;
  readonly results: (ReportResult | undefined)[];
  resolve(results: ReportResult[]): void;
  reject(error: unknown): void;
}

/** Writes of this many milliseconds share one transaction. */
const GATHER_MS = 10;
const MAX_GATHERED_RUNS = 2_000;
/** flags that follow from the newest report */
const RUN_FLAGS = FLAG.observing | FLAG.stale | FLAG.noPolicy | FLAG.held | FLAG.clockSkew;

export class RunIntake {
  readonly #parts: { readonly fleet: FleetIndex; readonly store: Store; readonly clock: Clock };
  readonly #listeners = new Set<(run: FinishedRun) => void>();
  /** hash of the newest full report of each slot: what a heartbeat stands for */
  readonly #lastHash = new Map<number, string>();
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #unwritten = 0;

  constructor(parts: { readonly fleet: FleetIndex; readonly store: Store; readonly clock: Clock }) {
    this.#parts = parts;
  }

  onRun(listener: (run: FinishedRun) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  heartbeat(slot: number, hash: string): ReportResult {
    return this.#lastHash.get(slot) === hash ? 'accepted' : 'unknown_result';
  }

  /** A full report that a later heartbeat may stand for. */
  remember(slot: number, hash: string): void {
    this.#lastHash.set(slot, hash);
  }

  /** It left: a heartbeat of a later stay stands for nothing of this one. */
  forget(slot: number): void {
    this.#lastHash.delete(slot);
  }

  /** One result per report, in order. Reports about somebody else are refused. */
  async take(
    slot: number,
    envoyId: EnvoyId,
    reports: readonly { readonly subject: string; readonly run_id: string; readonly report: Uint8Array }[],
  ): Promise<ReportResult[]> {
    const receivedAt = this.#parts.clock.now();
    const hostname = this.#parts.fleet.hostname(slot);
    const results: (ReportResult | undefined)[] = [];
    const runs: StoredRun[] = [];
    for (const message of reports) {
      const report = message.subject === envoyId ? parseReport(message.report) : undefined;
      if (report === undefined || report.run_id !== message.run_id) results.push('refused');
      else {
        results.push(undefined);
        runs.push({ subject: envoyId, hostname, receivedAt, report });
      }
    }
    if (runs.length === 0) return results as ReportResult[];
    this.#unwritten += runs.length;
    const stored = new Promise<ReportResult[]>((resolve, reject) => {
      this.#waiting.push({ runs, slot, results, resolve, reject });
      const gathered = this.#waiting.reduce((sum, { runs: some }) => sum + some.length, 0);
      if (gathered >= MAX_GATHERED_RUNS) this.#begin();
      else this.#timer ??= setTimeout(() => this.#begin(), GATHER_MS);
    });
    try {
      return await stored;
    } finally {
      this.#unwritten -= runs.length;
    }
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length === 0) return;
    this.#writing = this.#writing.then(() => this.#write(batch));
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const { fleet, store } = this.#parts;
    const slots = [...new Set(batch.map(({ slot }) => slot))];
    const before = slots.map((slot) => fleet.view(slot));
    try {
      const finished: FinishedRun[] = [];
      const duplicates = await store.transaction(async (tx) => {
        const known = await tx.runs.appendBatch(batch.flatMap(({ runs }) => runs));
        for (const waiting of batch)
          for (const run of waiting.runs)
            if (!known.has(runKey(run.subject, run.report.run_id))) finished.push(this.#judge(waiting.slot, run));
        await tx.envoys.saveBatch(slots.map((slot) => fleet.view(slot)));
        return known;
      });
      for (const waiting of batch) {
        let next = 0;
        waiting.resolve(
          waiting.results.map((result) => {
            if (result !== undefined) return result;
            const { subject, report } = waiting.runs[next++]!;
            return duplicates.has(runKey(subject, report.run_id)) ? 'duplicate' : 'accepted';
          }),
        );
      }
      for (const run of finished) for (const listener of this.#listeners) listener(run);
    } catch (error) {
      // nothing was stored, so nothing was judged: the same runs come again
      for (const [index, slot] of slots.entries()) this.#putBack(slot, before[index]!);
      if (batch.length > 1 && !(error instanceof CodedError)) {
        // a report that the database does not take must not cost the others theirs
        for (const one of batch) await this.#write([one]);
        return;
      }
      for (const waiting of batch) waiting.reject(error);
    }
  }

  #putBack(slot: number, before: EnvoyView): void {
    const { fleet } = this.#parts;
    fleet.setConvergence(slot, before);
    Atomics.and(fleet.columns.flags, slot, ~RUN_FLAGS);
    Atomics.or(fleet.columns.flags, slot, before.flags & RUN_FLAGS);
  }

  #judge(slot: number, { subject, hostname, report, receivedAt }: StoredRun): FinishedRun {
    const { fleet } = this.#parts;
    const before = fleet.view(slot);
    const after = afterRun(before, report, {
      policy: report.policy_hash ?? before.policyHash,
      secretsEpoch: report.secrets_epoch ?? before.secretsEpoch,
    });
    fleet.setConvergence(slot, after);
    this.#setFlags(slot, report);
    return { envoyId: subject, hostname, report, receivedAt, before, after };
  }

  #setFlags(slot: number, report: RunReport): void {
    const { flags } = this.#parts.fleet.columns;
    const pairs = [
      [FLAG.observing, report.mode === 'observe'],
      [FLAG.stale, report.flags.includes('stale_bundle')],
      [FLAG.noPolicy, report.flags.includes('no_policy')],
      [FLAG.held, report.flags.includes('held')],
      [FLAG.clockSkew, report.flags.includes('clock_skew')],
    ] as const;
    for (const [bit, on] of pairs)
      if (on) Atomics.or(flags, slot, bit);
      else Atomics.and(flags, slot, ~bit);
  }

  /** Runs that were received and are not stored yet. */
  get pending(): number {
    return this.#unwritten;
  }

  /** Writes what still waits. */
  async settle(): Promise<void> {
    this.#begin();
    await this.#writing;
  }
}

function parseReport(bytes: Uint8Array): RunReport | undefined {
  try {
    const parsed = runReportSchema.safeParse(parseForeignJson(Buffer.from(bytes).toString('utf8')));
    return parsed.success ? parsed.data : undefined;
  } catch {
    // not JSON: refused like any other report that does not fit
    return undefined;
  }
}
