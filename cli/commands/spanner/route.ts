/** `vigocli spanner route`. */
import { z } from 'zod';
import { routeHostname } from '../../../core/api/spanner.ts';
import { type Column, printList } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

type Tried = z.output<typeof routeHostname.reply>['tried'][number];

const COLUMNS: readonly Column<Tried>[] = [
  { title: 'PATTERN', value: (row) => row.pattern },
  { title: 'SPOKE', value: (row) => row.spoke },
  { title: 'BEFORE', value: (row) => row.literals_before },
  { title: 'LITERALS', value: (row) => row.literals },
  { title: 'MATCHES', value: (row) => (row.matches ? 'yes' : 'no') },
  { title: 'CHOSEN', value: (row) => (row.chosen ? 'yes' : '') },
  { title: 'WHY', value: (row) => row.why },
];

export const spannerRoute = cliCommand({
  name: ['spanner', 'route'],
  summary: 'which spoke a hostname belongs to, and why',
  flags: z.object({}),
  positional: [{ name: 'hostname', summary: 'name of a host' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const routed = await client.call(routeHostname, { query: { hostname: input.args[0]! } });
      printList(io, output, COLUMNS, routed.tried, routed);
      if (output.form === 'table' || output.form === 'wide') io.out(`${routed.hostname} -> ${routed.spoke ?? 'no spoke'}: ${routed.why}\n`);
      return routed.spoke === null ? 7 : 0;
    }),
});
