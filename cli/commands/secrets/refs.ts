/** `vigocli secrets refs`. */
import { z } from 'zod';
import { type secretRefSchema, secretRefs } from '../../../core/api/secrets.ts';
import { flag } from '../../../core/command/flags.ts';
import { type Column, printList } from '../../../core/command/output.ts';
import { exitOf } from '../../complete.ts';
import { cliCommand, withClient } from '../../globals.ts';

const COLUMNS: readonly Column<z.output<typeof secretRefSchema>>[] = [
  { title: 'REFERENCE', value: (row) => row.ref },
  { title: 'WHERE', value: (row) => `${row.file}:${row.line}` },
  { title: 'ENTRIES', value: (row) => row.entries.length },
  {
    title: 'STATE',
    value: (row) => (row.missing ? `missing${row.missing_at === undefined ? '' : ` at ${row.missing_at.join(', ')}`}` : 'present'),
  },
];

export const secretsRefs = cliCommand({
  name: ['secrets', 'refs'],
  summary: 'where references to secrets are used; exit 1 when --missing finds any',
  flags: z.object({ missing: flag.on('only references without a secret') }),
  positional: [{ name: 'path', summary: 'only this secret', optional: true }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const query = { path: input.args[0], spoke: input.globals.spoke, missing: input.flags.missing ? ('true' as const) : undefined };
      const reply = await client.call(secretRefs, { query });
      printList(io, output, COLUMNS, reply.items, reply);
      return exitOf(input, io, reply, input.flags.missing && reply.items.length > 0 ? 1 : 0);
    }),
});
