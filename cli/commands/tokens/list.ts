/** `vigocli tokens list`. */
import { z } from 'zod';
import { listTokens, TOKEN_STATES, type TokenItem } from '../../../core/api/tokens.ts';
import { flag } from '../../../core/command/flags.ts';
import { type Column, formatTime, printList } from '../../../core/command/output.ts';
import { exitOf } from '../../complete.ts';
import { cliCommand, readPages, withClient } from '../../globals.ts';

const COLUMNS: readonly Column<TokenItem>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'PATTERN', value: (row) => row.pattern },
  { title: 'STATE', value: (row) => row.state },
  { title: 'SPOKE', value: (row) => row.spoke },
  { title: 'CREATED', value: (row, output) => formatTime(row.created_at, output) },
  { title: 'BY', value: (row) => row.created_by },
  { title: 'EXPIRES', value: (row, output) => formatTime(row.expires_at, output) },
  { title: 'SPENT-BY', value: (row) => row.spent_by ?? '' },
  { title: 'ENV', value: (row) => row.environment, wide: true },
  { title: 'NOTE', value: (row) => row.note, wide: true },
];

export const tokensList = cliCommand({
  name: ['tokens', 'list'],
  summary: 'lists enrolment tokens',
  flags: z.object({ state: flag.oneOf(TOKEN_STATES, 'only those') }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const whole = await readPages(input, io, (page) =>
        client.call(listTokens, { query: { ...page, state: input.flags.state, spoke: input.globals.spoke } }),
      );
      printList(io, output, COLUMNS, whole.items, whole);
      return exitOf(input, io, whole);
    }),
});
