/** `vigocli config status`. */
import { z } from 'zod';
import { configStatus, type SpokeReleaseItem } from '../../../core/api/config.ts';
import { type Column, formatTime, printFields, printList } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

const SPOKES: readonly Column<SpokeReleaseItem>[] = [
  { title: 'SPOKE', value: (row) => row.spoke },
  { title: 'STATE', value: (row) => row.state },
  { title: 'RELEASE', value: (row) => row.number ?? '-' },
  { title: 'LAG', value: (row) => row.lag ?? '?' },
  { title: 'SINCE', value: (row, output) => formatTime(row.since, output) },
  { title: 'HEARD', value: (row, output) => formatTime(row.heard_at, output) },
  { title: 'ERROR', value: (row) => row.error ?? '' },
];

function rolloutText(rollout: z.output<typeof configStatus.reply>['rollout']): string | undefined {
  if (rollout === undefined || rollout === null) return undefined;
  const { number, state, ring, rings, error } = rollout;
  return `release ${number} ${state}${ring === null ? '' : ` at ring ${ring} of ${rings.join(', ')}`}${error === null ? '' : `: ${error}`}`;
}

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
          ['rollout', rolloutText(status.rollout)],
          ['stage', status.stage_is_live === null ? 'unknown' : status.stage_is_live ? 'is live' : 'differs from live'],
        ],
        status,
      );
      if (output.form !== 'json' && status.spokes !== undefined && status.spokes.length > 0) {
        io.out('\n');
        printList(io, output, SPOKES, status.spokes, status);
      }
      return status.healthy ? 0 : 1;
    }),
});
