/** `vigocli runs list`. */
import { z } from 'zod';
import { listRuns } from '../../../core/api/runs.ts';
import { parseDurationMs } from '../../../core/base/duration.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { flag } from '../../../core/command/flags.ts';
import { printList } from '../../../core/command/output.ts';
import { RUN_MODES } from '../../../core/policy/outcome.ts';
import { exitOf } from '../../complete.ts';
import { cliCommand, readPages, withClient } from '../../globals.ts';
import { RUN_COLUMNS } from './columns.ts';

/** `2h` means that long ago; all else is a time. */
export function sinceOf(text: string | undefined, flagName = '--since'): string | undefined {
  if (text === undefined) return undefined;
  const ago = parseDurationMs(text);
  const time = ago === undefined || /^\d{4}-/.test(text) ? Date.parse(text) : Date.now() - ago;
  if (Number.isNaN(time))
    throw new CodedError('USAGE', `${flagName} "${text}" is neither a time nor a duration`, { hint: 'such as 2h or 2026-03-01T12:00:00Z' });
  return new Date(time).toISOString();
}

export const runsList = cliCommand({
  name: ['runs', 'list'],
  summary: 'lists runs, newest first',
  flags: z.object({
    envoy: flag.text('those of one envoy'),
    since: flag.text('newer than this', { value: 'time|duration' }),
    changed: flag.on('only runs that changed something'),
    failed: flag.on('only runs with failed or blocked resources'),
    mode: flag.oneOf(RUN_MODES, 'only those'),
  }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { envoy, since, changed, failed, mode } = input.flags;
      const yes = (on: boolean) => (on ? ('true' as const) : undefined);
      const query = { envoy, mode, spoke: input.globals.spoke, since: sinceOf(since), changed: yes(changed), failed: yes(failed) };
      const whole = await readPages(input, io, (page) => client.call(listRuns, { query: { ...page, ...query } }));
      printList(io, output, RUN_COLUMNS, whole.items, whole);
      return exitOf(input, io, whole);
    }),
});
