/** `vigocli spanner status`. */
import { z } from 'zod';
import { spannerStatus } from '../../../core/api/spanner.ts';
import { formatTime, printFields, printList } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';
import { spokeColumns } from './columns.ts';

export const spannerStatusCommand = cliCommand({
  name: ['spanner', 'status'],
  summary: 'role, links and spokes',
  flags: z.object({}),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const status = await client.call(spannerStatus);
      if (output.form === 'table' || output.form === 'wide') {
        const { link } = status;
        printFields(
          io,
          output,
          [
            ['role', status.role],
            ['site', status.site_id],
            ['hub', status.hub],
            ['epoch', status.epoch],
            ['release', status.release === 0 ? 'none' : status.release],
            [
              'link',
              link === null
                ? undefined
                : `${link.state} since ${formatTime(link.since, output)}${link.reason === '' ? '' : `: ${link.reason}`}`,
            ],
            ['rtt', link?.rtt_ms == null ? undefined : `${link.rtt_ms}ms`],
          ],
          status,
        );
        if (status.role === 'spoke') return 0;
        io.out('\n');
      }
      printList(io, output, spokeColumns(status.release), status.spokes, status);
      return 0;
    }),
});
