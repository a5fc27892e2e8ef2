/** `vigocli spanner spoke list` and `show`. */
import { z } from 'zod';
import { listSpokes, showSpoke, spannerStatus } from '../../../core/api/spanner.ts';
import { formatTime, printFields, printList } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';
import { spokeColumns } from './columns.ts';

export const spokeList = cliCommand({
  name: ['spanner', 'spoke', 'list'],
  summary: 'lists spokes',
  flags: z.object({}),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const whole = await client.call(listSpokes);
      const { release } = await client.call(spannerStatus);
      printList(io, output, spokeColumns(release), whole.items, whole);
      return 0;
    }),
});

export const spokeShow = cliCommand({
  name: ['spanner', 'spoke', 'show'],
  summary: 'shows a spoke',
  flags: z.object({}),
  positional: [{ name: 'id', summary: 'id of the spoke' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const spoke = await client.call(showSpoke, { params: { id: input.args[0]! } });
      const { link } = spoke;
      const since = formatTime(link.since, output);
      printFields(
        io,
        output,
        [
          ['id', spoke.id],
          ['state', `${spoke.state} since ${formatTime(spoke.state_since, output)}`],
          [
            'link',
            link.state === 'down' ? `unreachable since ${since}: ${link.reason}` : link.state === 'up' ? `up since ${since}` : link.state,
          ],
          ['rtt', link.rtt_ms === null ? undefined : `${link.rtt_ms}ms`],
          ['clock offset', link.clock_offset_ms === null ? undefined : `${link.clock_offset_ms}ms`],
          ['address', spoke.addr],
          ['api', spoke.api_url],
          ['fallback', spoke.fallback.join(' ')],
          ['patterns', spoke.patterns.join(' ')],
          ['weight', spoke.weight],
          [
            'labels',
            Object.entries(spoke.labels)
              .map(([key, value]) => `${key}=${value}`)
              .join(' '),
          ],
          ['envoys', spoke.envoys],
          ['offline', link.state === 'down' ? 'unknown' : spoke.offline],
          ['converged', link.state === 'down' ? 'unknown' : spoke.converged_pct === null ? undefined : `${spoke.converged_pct} %`],
          ['release', spoke.release === 0 ? 'none' : spoke.release],
          ['version', spoke.version],
          ['figures', spoke.age_s === null ? 'none yet' : `${spoke.age_s} s old`],
          ['described by', spoke.source],
        ],
        spoke,
      );
      return 0;
    }),
});
