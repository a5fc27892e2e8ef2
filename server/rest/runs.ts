/** Handlers of runs and of the fleet's summary. */
import { fleetSummary } from '../../core/api/fleet.ts';
import { getRun, listRuns, streamRuns } from '../../core/api/runs.ts';
import { CodedError } from '../../core/base/errors.ts';
import { countOutcomes } from '../../core/policy/outcome.ts';
import type { FinishedRun } from '../fleet/run-intake.ts';
import { compileTarget, findEnvoy, runItem } from './envoy-rows.ts';
import { type Handler, handler } from './handler.ts';
import { page, readCursor, timeText, writeCursor } from './pages.ts';
import type { RestParts } from './parts.ts';

const MAX_WAITING = 1000;

export function finishedItem({ envoyId, hostname, report, receivedAt, after }: FinishedRun) {
  return {
    id: report.run_id,
    envoy_id: envoyId,
    hostname,
    started_at: timeText(report.started_at),
    received_at: timeText(receivedAt),
    duration_ms: Math.max(0, report.ended_at - report.started_at),
    mode: report.mode,
    partial: report.partial ?? '',
    flags: [...report.flags],
    release: report.release,
    ...countOutcomes(report.outcomes),
    state: after.runState,
  };
}

/** Runs as they are stored; a reader that falls far behind loses the oldest. */
async function* follow(parts: RestParts, matches: (slot: number) => boolean, signal: AbortSignal) {
  const waiting: FinishedRun[] = [];
  let wake = () => {};
  const stop = parts.intake.onRun((run) => {
    if (!matches(parts.fleet.slotOf(run.envoyId))) return;
    if (waiting.length >= MAX_WAITING) waiting.shift();
    waiting.push(run);
    wake();
  });
  const ended = () => wake();
  signal.addEventListener('abort', ended);
  try {
    while (!signal.aborted) {
      const next = waiting.shift();
      if (next !== undefined) yield finishedItem(next);
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (signal.aborted) resolve();
        });
      }
    }
  } finally {
    stop();
    signal.removeEventListener('abort', ended);
  }
}

export function runHandlers(parts: RestParts): readonly Handler[] {
  const { fleet, store, clock } = parts;
  return [
    handler(listRuns, async ({ query }) => {
      const filter = {
        subject: query.envoy === undefined ? undefined : fleet.view(findEnvoy(parts, query.envoy)).id,
        mode: query.mode,
        startedSince: query.since === undefined ? undefined : Date.parse(query.since),
        changed: query.changed,
        failed: query.failed,
        before: readCursor('runs', query.cursor, 'number', clock.now()),
      };
      const runs = await store.runs.list(filter, query.limit);
      const last = runs.length === query.limit ? runs.at(-1) : undefined;
      return page(runs.map(runItem), last === undefined ? null : writeCursor('runs', last.position, clock.now()));
    }),
    handler(getRun, async ({ params, query }) => {
      const envoy = query.envoy === undefined ? undefined : fleet.view(findEnvoy(parts, query.envoy)).id;
      const found = (await store.runs.byId(params.id)).filter(({ summary }) => envoy === undefined || summary.subject === envoy);
      const [only] = found;
      if (only === undefined) throw new CodedError('NOT_FOUND', `no run ${params.id.slice(0, 80)}`);
      if (found.length > 1)
        throw new CodedError('AMBIGUOUS_NAME', `${found.length} envoys have a run ${params.id.slice(0, 80)}`, {
          hint: 'name the envoy too',
        });
      const { summary, report } = only;
      return {
        ...runItem(summary),
        detailed: report !== undefined,
        bundle_rejected: report?.bundle_rejected ?? null,
        outcomes: [...(report?.outcomes ?? [])],
      };
    }),
    handler(streamRuns, ({ query, signal }) => {
      const matches = query.target === undefined ? () => true : compileTarget(parts, query.target);
      return follow(parts, matches, signal);
    }),
    handler(fleetSummary, () => {
      const states: Record<string, number> = {};
      const releases: Record<string, number> = {};
      const counts = { envoys: 0, pending: 0, revoked: 0, unmatched: 0 };
      for (const slot of fleet.slots()) {
        const { active, revoked, state, release, entry } = fleet.view(slot);
        if (revoked) counts.revoked++;
        else if (!active) counts.pending++;
        else {
          counts.envoys++;
          if (entry < 0) counts.unmatched++;
          states[state] = (states[state] ?? 0) + 1;
          releases[String(release)] = (releases[String(release)] ?? 0) + 1;
        }
      }
      const converged = states['converged'] ?? 0;
      return {
        ...counts,
        states,
        releases,
        converged_pct: counts.envoys === 0 ? null : Math.floor((converged * 10_000) / counts.envoys) / 100,
        live_release: parts.releases.live?.number ?? 0,
        complete: true,
        spokes: [],
      };
    }),
  ];
}
