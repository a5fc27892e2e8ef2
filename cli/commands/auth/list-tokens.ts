/** `vigocli auth list-tokens`. */
import { z } from 'zod';
import { type ApiTokenItem, listApiTokens } from '../../../core/api/session.ts';
import { flag } from '../../../core/command/flags.ts';
import { type Column, formatTime, printList } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

const COLUMNS: readonly Column<ApiTokenItem>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'NAME', value: (row) => row.name },
  { title: 'USER', value: (row) => row.user },
  { title: 'SCOPES', value: (row) => row.scopes.join(',') },
  { title: 'CREATED', value: (row, output) => formatTime(row.created_at, output) },
  { title: 'EXPIRES', value: (row, output) => formatTime(row.expires_at, output) },
  { title: 'LAST-USED', value: (row, output) => formatTime(row.last_used_at, output) },
];

export const authListTokens = cliCommand({
  name: ['auth', 'list-tokens'],
  summary: 'lists API tokens',
  flags: z.object({ user: flag.text('those of this user') }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const reply = await client.call(listApiTokens, { query: { user: input.flags.user } });
      printList(io, output, COLUMNS, reply.items, reply);
      return 0;
    }),
});
