/** Shows how far a batch of moves is: a bar for people on a terminal, lines for everybody else. */
import { type BatchItem, batchEvents, type MovingReply } from '../../../core/api/spanner-moves.ts';
import type { CommandIo, OutputOptions } from '../../../core/command/command.ts';
import { type Column, escapeCell, formatJson, printList } from '../../../core/command/output.ts';
import type { ApiClient } from '../../api-client.ts';

const BAR = 30;

function figures({ state, moved, remaining, failed, rate, eta_s: eta }: BatchItem): string {
  const speed = state === 'running' ? `, ${rate}/s${eta === null ? '' : `, ${eta} s to go`}` : '';
  return `moved ${moved}, remaining ${remaining}, failed ${failed}${speed}`;
}

/** Follows until it ends; answers how it stands then. */
export async function followBatch(client: ApiClient, io: CommandIo, output: OutputOptions, id: string): Promise<BatchItem> {
  let last: BatchItem | undefined;
  const quiet = output.quiet || output.form === 'json';
  for await (const now of client.events(batchEvents, { params: { id } })) {
    last = now;
    if (quiet) continue;
    if (io.stderrIsTerminal) {
      const all = Math.max(1, now.moved + now.remaining);
      const full = Math.floor((BAR * now.moved) / all);
      io.err(`\r\u001b[K[${'#'.repeat(full)}${'.'.repeat(BAR - full)}] ${figures(now)}`);
    } else io.err(`${figures(now)}\n`);
  }
  if (io.stderrIsTerminal && !quiet) io.err('\n');
  return last!;
}

type Planned = NonNullable<MovingReply['plan']>[number];
const PLAN: readonly Column<Planned>[] = [
  { title: 'HOSTNAME', value: (row) => row.hostname },
  { title: 'FROM', value: (row) => row.from },
  { title: 'TO', value: (row) => row.to ?? 'nowhere' },
  { title: 'ID', value: (row) => row.id, wide: true },
];

/** What was begun, or planned; with `wait` it is followed to its end. Exit codes of server.md §5.1. */
export async function showMoving(
  client: ApiClient,
  io: CommandIo,
  output: OutputOptions,
  reply: MovingReply,
  wait: boolean,
): Promise<number> {
  if (reply.note !== null && output.form !== 'json') io.err(`${escapeCell(reply.note)}\n`);
  if (reply.plan !== null) {
    printList(io, output, PLAN, reply.plan, reply);
    return 0;
  }
  const { batch } = reply;
  const ended = batch !== null && wait && batch.state === 'running' ? await followBatch(client, io, output, batch.id) : batch;
  if (output.form === 'json') io.out(formatJson({ ...reply, batch: ended }));
  else if (ended === null) io.out(`${reply.status}\n`);
  else io.out(`${ended.kind} ${ended.id} ${ended.state}: ${figures(ended)}${ended.error === null ? '' : ` (${ended.error})`}\n`);
  if (ended?.state === 'running') return 3;
  return ended?.state === 'failed' ? 1 : ended?.state === 'cancelled' && wait ? 4 : 0;
}
