/** `vigocli spanner reassign`. */
import { z } from 'zod';
import { type BatchItem, getBatch, reassign } from '../../../core/api/spanner-moves.ts';
import { flag } from '../../../core/command/flags.ts';
import { formatJson } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';
import { followBatch, showMoving } from './follow-batch.ts';
import { movesOf, printMoves } from './moves.ts';

const LOOK_MS = 500;
const MOST_MS = 600_000;

export const spannerReassign = cliCommand({
  name: ['spanner', 'reassign'],
  summary: 'moves envoys to another spoke',
  flags: z.object({
    to: flag.text('spoke that takes them (where their patterns belong)', { value: 'spoke' }),
    maxRate: flag.text('2%/min or 10/s (spanner.move_rate_pct)', { value: 'rate' }),
    wait: flag.on('until every envoy was seen at its new spoke, at most --timeout'),
    dryRun: flag.on('shows who would move where'),
  }),
  positional: [{ name: 'target', summary: 'host names, ids, spoke:…, label:…; several with commas' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { to, maxRate, wait, dryRun } = input.flags;
      const reply = await client.call(reassign, { body: { target: input.args[0]!, to, max_rate: maxRate, dry_run: dryRun } });
      const { batch } = reply;
      if (batch === null || !wait) return showMoving(client, io, output, reply, false);
      let now: BatchItem = await followBatch(client, io, output, batch.id);
      const until = performance.now() + (input.globals.timeout ?? MOST_MS);
      while (now.state !== 'cancelled' && now.confirmed < now.moved && performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
        now = await client.call(getBatch, { params: { id: batch.id } });
      }
      const moves = await movesOf(client, batch.id);
      if (output.form === 'json') io.out(formatJson({ ...reply, batch: now, items: moves }));
      else printMoves(io, output, moves);
      return now.confirmed === now.total ? 0 : 3;
    }),
});
