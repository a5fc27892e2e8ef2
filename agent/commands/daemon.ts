import { join } from 'node:path';
import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { CodedError, ERROR_CODES, messageOf } from '../../core/base/errors.ts';
import { VERSION } from '../../core/base/version.ts';
import { countOutcomes } from '../../core/policy/outcome.ts';
import { runIfFree, runWhenFree } from '../converge/lock.ts';
import { yieldsTo } from '../converge/preempt.ts';
import { runDaemon } from '../daemon.ts';
import { Agent, type CycleResult } from '../runtime.ts';
import { RunFiles } from '../state/run-files.ts';
import { agentCommand, loggingOf, requireRoot, settingsOf } from './globals.ts';

/** While somebody else runs, the daemon skips cycles and looks again soon. */
const BUSY: CycleResult = { problem: undefined, report: undefined, waitMs: undefined };

function exitCodeOf({ report, problem }: CycleResult): number {
  if (report === undefined) return problem === undefined ? ERROR_CODES.NO_POLICY.exit : ERROR_CODES[problem.code].exit;
  const { failed, blocked } = countOutcomes(report.outcomes);
  return failed + blocked > 0 ? 1 : 0;
}

/** Finishes the running resource on TERM and INT (30 s), then ends; HUP checks in at once. */
function signals(tell: () => void): { readonly stop: AbortSignal; readonly finish: AbortSignal; wake(): Promise<void> } {
  const stop = new AbortController();
  const finish = new AbortController();
  let waker: () => void = () => {};
  const end = () => {
    if (stop.signal.aborted) finish.abort();
    stop.abort();
    setTimeout(() => finish.abort(), 30_000).unref();
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('SIGHUP', () => waker());
  process.on('SIGUSR1', () => tell());
  return {
    stop: stop.signal,
    finish: finish.signal,
    wake: () =>
      new Promise((resolve) => {
        waker = resolve;
      }),
  };
}

export const daemon = agentCommand({
  name: ['daemon'],
  summary: 'daemon loop: check in, converge, report (the default command)',
  details: 'Ends by signal only. With --once: one cycle, then the exit code of `vigo run`.',
  flags: z.object({}),
  async run({ globals }) {
    requireRoot(globals, 'daemon');
    const settings = settingsOf(globals);
    const { log, redactor } = loggingOf(settings);
    const agent = new Agent({ settings, clock: systemClock, log, redactor });
    const { stop, finish, wake } = signals(() => {
      const held = agent.state.policy.held();
      log.info('state', {
        release: held?.header.release ?? 0,
        pending_results: agent.state.results.count(),
        interval_ms: agent.intervalMs,
        proven_at: agent.state.facts.get('provenAt') ?? 0,
      });
    });
    try {
      if (globals.once) {
        const files = new RunFiles(join(settings.stateDir, 'run'), 'manual');
        const result = await runWhenFree(files, { clock: systemClock, signal: stop }, () => agent.cycle({ talk: true, signal: finish }));
        if (result.problem !== undefined) log.warn('the server could not be used', { code: result.problem.code });
        return exitCodeOf(result);
      }
      const files = new RunFiles(join(settings.stateDir, 'run'), 'daemon');
      const yields = yieldsTo(files);
      log.info('the daemon starts', { version: VERSION, server: settings.server, interval_ms: agent.intervalMs });
      await runDaemon(
        {
          clock: systemClock,
          log,
          random: Math.random,
          intervalMs: () => agent.intervalMs,
          jitterPct: () => agent.jitterPct,
          wake,
          cycle: async (talk) =>
            (await runIfFree(files, () =>
              agent.cycle({ talk, signal: finish, shouldYield: async () => stop.aborted || (await yields()) }),
            )) ?? BUSY,
        },
        { spreadFirst: agent.state.policy.held() !== undefined, signal: stop },
      );
      log.info('the daemon ends', {});
      return 0;
    } catch (thrown) {
      log.error('the daemon cannot start', { error: messageOf(thrown), code: thrown instanceof CodedError ? thrown.code : 'INTERNAL' });
      throw thrown;
    } finally {
      await agent.close();
    }
  },
});
