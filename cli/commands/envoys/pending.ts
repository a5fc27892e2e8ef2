/** `vigocli envoys pending`. */
import { z } from 'zod';
import { listPending, type pendingSchema } from '../../../core/api/enrollments.ts';
import { type Column, formatTime, printList } from '../../../core/command/output.ts';
import { exitOf } from '../../complete.ts';
import { cliCommand, readPages, withClient } from '../../globals.ts';

const COLUMNS: readonly Column<z.output<typeof pendingSchema>>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'HOSTNAME', value: (row) => row.hostname },
  { title: 'ADDRESS', value: (row) => row.address },
  { title: 'FINGERPRINT', value: (row) => row.fingerprint },
  { title: 'REASON', value: (row) => row.reason },
  { title: 'SINCE', value: (row, output) => formatTime(row.requested_at, output) },
];

export const envoysPending = cliCommand({
  name: ['envoys', 'pending'],
  summary: 'lists enrolments that wait for approval',
  flags: z.object({}),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const whole = await readPages(input, io, (page) => client.call(listPending, { query: { ...page, spoke: input.globals.spoke } }));
      printList(io, output, COLUMNS, whole.items, whole);
      return exitOf(input, io, whole);
    }),
});
