/** `vigocli audit log`. */
import { z } from 'zod';
import { type auditRowSchema, listAudit } from '../../../core/api/audit.ts';
import { isPlainObject } from '../../../core/base/json.ts';
import { flag } from '../../../core/command/flags.ts';
import { type Column, formatTime, printList } from '../../../core/command/output.ts';
import { exitOf } from '../../complete.ts';
import { cliCommand, readPages, withClient } from '../../globals.ts';
import { sinceOf } from '../runs/list.ts';

type Row = z.output<typeof auditRowSchema>;

function detailOf(row: Row): string {
  const record: unknown = row.record;
  if (!isPlainObject(record)) return '';
  const { data, outcome } = record;
  const shown = isPlainObject(data) && Object.keys(data).length > 0 ? JSON.stringify(data) : '';
  return outcome === 'ok' ? shown : `${String(outcome)} ${shown}`.trim();
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'SPOKE', value: (row) => row.spoke, wide: true },
  { title: 'SEQ', value: (row) => row.seq },
  { title: 'TIME', value: (row, output) => formatTime(row.time, output) },
  { title: 'ACTOR', value: (row) => row.actor },
  { title: 'EVENT', value: (row) => row.event },
  { title: 'TARGET', value: (row) => row.target },
  { title: 'DETAIL', value: detailOf },
];

export const auditLog = cliCommand({
  name: ['audit', 'log'],
  summary: 'the audit log, newest first',
  flags: z.object({
    since: flag.text('newer than this', { value: 'time|duration' }),
    until: flag.text('older than this', { value: 'time|duration' }),
    actor: flag.text('only this actor'),
    event: flag.text('only this event; a prefix ends in a dot'),
    target: flag.text('only this target'),
  }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { since, until, ...filters } = input.flags;
      const query = { ...filters, spoke: input.globals.spoke, since: sinceOf(since), until: sinceOf(until, '--until') };
      const whole = await readPages(input, io, (page) => client.call(listAudit, { query: { ...page, ...query } }));
      printList(io, output, COLUMNS, whole.items, whole);
      return exitOf(input, io, whole);
    }),
});
