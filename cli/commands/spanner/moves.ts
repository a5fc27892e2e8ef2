/** `vigocli spanner moves`. */
import { z } from 'zod';
import { listMoves, type MoveItem } from '../../../core/api/spanner-moves.ts';
import type { CommandIo, OutputOptions } from '../../../core/command/command.ts';
import { flag } from '../../../core/command/flags.ts';
import { type Column, formatTime, printList } from '../../../core/command/output.ts';
import type { ApiClient } from '../../api-client.ts';
import { cliCommand, readPages, withClient } from '../../globals.ts';

const COLUMNS: readonly Column<MoveItem>[] = [
  { title: 'HOSTNAME', value: (row) => row.hostname },
  { title: 'FROM', value: (row) => row.from },
  { title: 'TO', value: (row) => row.to },
  { title: 'PHASE', value: (row) => row.phase },
  { title: 'EPOCH', value: (row) => row.owner_epoch },
  { title: 'STARTED', value: (row, options) => formatTime(row.started_at, options) },
  { title: 'ENDED', value: (row, options) => formatTime(row.ended_at, options) },
  { title: 'ERROR', value: (row) => row.error ?? '' },
  { title: 'MESSAGE', value: (row) => row.message ?? '', wide: true },
  { title: 'ENVOY', value: (row) => row.envoy_id, wide: true },
  { title: 'ID', value: (row) => row.id, wide: true },
];

/** Of one batch, at most a thousand, newest first. */
export async function movesOf(client: ApiClient, batch: string): Promise<readonly MoveItem[]> {
  return (await client.call(listMoves, { query: { batch, limit: 1000 } })).items;
}

export function printMoves(io: CommandIo, output: OutputOptions, moves: readonly MoveItem[]): void {
  printList(io, output, COLUMNS, moves, { items: moves });
}

export const spannerMoves = cliCommand({
  name: ['spanner', 'moves'],
  summary: 'the journal of moves, newest first',
  flags: z.object({
    open: flag.on('only those that are not finished'),
    batch: flag.text('only those of one drain or reassignment', { value: 'id' }),
  }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { open, batch } = input.flags;
      const list = await readPages(input, io, (page) =>
        client.call(listMoves, { query: { ...page, ...(open ? { open: 'true' } : {}), batch } }),
      );
      printList(io, output, COLUMNS, list.items, list);
      return 0;
    }),
});
