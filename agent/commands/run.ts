import { join } from 'node:path';
import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { flag } from '../../core/command/flags.ts';
import { escapeCell, formatJson } from '../../core/command/output.ts';
import { countOutcomes } from '../../core/policy/outcome.ts';
import { runWhenFree } from '../converge/lock.ts';
import { printTrace } from '../converge/trace-printer.ts';
import { Agent } from '../runtime.ts';
import { RunFiles } from '../state/run-files.ts';
import { agentCommand, loggingOf, requireRoot, settingsOf } from './globals.ts';

export const run = agentCommand({
  name: ['run'],
  summary: 'one convergence now, with a line for every resource',
  details:
    'A running daemon is asked to yield and is waited for, up to 120 s. Without the server the cached policy is enforced.\n' +
    'Exit code: 0 nothing failed, 1 some resource failed or was blocked, 3 the lock was not obtained, 4 there is no policy.',
  flags: z.object({
    module: flag.text('only this module', { value: 'name' }),
    configcrate: flag.text('the same as --module', { value: 'name' }),
  }),
  async run({ flags, globals }, io) {
    requireRoot(globals, 'run');
    if (flags.module !== undefined && flags.configcrate !== undefined)
      throw new CodedError('USAGE', 'give --module or --configcrate, not both');
    const settings = settingsOf(globals);
    // the trace is for people: the log speaks up only when something is wrong, unless it is asked to
    const { log, redactor } = loggingOf({ log_level: globals.logLevel ?? 'warn', log_format: globals.logFormat ?? 'text' });
    const color = io.stderrIsTerminal && !globals.noColor && io.env['NO_COLOR'] === undefined;
    const agent = new Agent({ settings, clock: systemClock, log, redactor });
    try {
      const files = new RunFiles(join(settings.stateDir, 'run'), 'manual');
      const { report } = await runWhenFree(files, { clock: systemClock, signal: io.signal }, () =>
        agent.cycle({
          talk: true,
          signal: io.signal,
          module: flags.module ?? flags.configcrate,
          trace: printTrace((text) => io.err(text), { color }),
        }),
      );
      if (report === undefined)
        throw new CodedError('NO_POLICY', 'there is no policy to enforce', { hint: 'vigo status says what the server answered last' });
      if (globals.json) io.out(formatJson(report));
      const { failed, blocked } = countOutcomes(report.outcomes);
      return failed + blocked > 0 ? 1 : 0;
    } catch (thrown) {
      // a module that the policy does not have is a failed run, not a wrong flag
      if (!(thrown instanceof CodedError) || thrown.code !== 'BAD_REQUEST') throw thrown;
      await agent.state.facts.set('openRun', null);
      io.err(`vigo: ${escapeCell(thrown.message)}\n`);
      return 1;
    } finally {
      await agent.close();
    }
  },
});
