/** `vigocli runs watch`. */
import { z } from 'zod';
import { streamRuns } from '../../../core/api/runs.ts';
import { escapeCell, formatTime } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

export const runsWatch = cliCommand({
  name: ['runs', 'watch'],
  summary: 'shows runs as they are reported',
  flags: z.object({}),
  positional: [{ name: 'target', summary: 'host names, env:…, role:…', optional: true }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      for await (const run of client.events(streamRuns, { query: { target: input.args[0], spoke: input.globals.spoke } })) {
        if (output.form === 'json') io.out(`${JSON.stringify(run)}\n`);
        else
          io.out(
            `${formatTime(run.received_at, output)}  ${escapeCell(run.hostname)}  ${run.state}  ${run.ok} ok, ${run.changed} changed, ${run.failed} failed, ${run.blocked} blocked, ${run.skipped} skipped  release ${run.release}  ${escapeCell(run.id)}\n`,
          );
      }
      return 0;
    }),
});
