/** `vigocli doctor`. */
import { z } from 'zod';
import { getDoctor } from '../../../core/api/server.ts';
import { escapeCell, formatJson, paint } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

const COLORS = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

export const doctor = cliCommand({
  name: ['doctor'],
  summary: 'checks the server; exit 1 when a check fails',
  flags: z.object({}),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const reply = await client.call(getDoctor);
      if (output.form === 'json') io.out(formatJson(reply));
      else {
        for (const { name, status, message, hint } of reply.checks) {
          io.out(`${paint(status.padEnd(4), COLORS[status], output)}  ${escapeCell(name)}: ${escapeCell(message)}\n`);
          if (hint !== undefined && status !== 'ok') io.out(`      ${escapeCell(hint)}\n`);
        }
      }
      return reply.status === 'fail' ? 1 : 0;
    }),
});
