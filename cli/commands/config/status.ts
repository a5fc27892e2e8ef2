/** `vigocli config status`. */
import { z } from 'zod';
import { configStatus } from '../../../core/api/config.ts';
import { formatTime, printFields } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

export const configStatusCommand = cliCommand({
  name: ['config', 'status'],
  summary: 'live and loaded release, freeze, and whether the stage differs; exit 1 when not healthy',
  flags: z.object({}),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const status = await client.call(configStatus);
      const release = (of: typeof status.live) => (of === null ? 'none' : `${of.number} (${of.version}, root ${of.root.slice(0, 12)})`);
      printFields(
        io,
        output,
        [
          ['healthy', status.healthy ? 'yes' : 'no'],
          ['live', release(status.live)],
          ['loaded', release(status.loaded)],
          ['last error', status.last_error],
          ['frozen', status.freeze === null ? undefined : `until ${formatTime(status.freeze.until, output)}: ${status.freeze.reason}`],
          ['waiting for approval', status.pending > 0 ? status.pending : undefined],
          ['stage', status.stage_is_live === null ? 'unknown' : status.stage_is_live ? 'is live' : 'differs from live'],
        ],
        status,
      );
      return status.healthy ? 0 : 1;
    }),
});
