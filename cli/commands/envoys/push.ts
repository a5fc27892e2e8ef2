/** `vigocli envoys push`. */
import { z } from 'zod';
import { pushEnvoys } from '../../../core/api/envoys.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { type Column, printList } from '../../../core/command/output.ts';
import { exitOf } from '../../complete.ts';
import { cliCommand, withClient } from '../../globals.ts';

type Pushed = z.output<typeof pushEnvoys.reply>['envoys'][number];

const COLUMNS: readonly Column<Pushed>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'HOSTNAME', value: (row) => row.hostname },
  { title: 'STATUS', value: (row) => row.status },
];

export const envoysPush = cliCommand({
  name: ['envoys', 'push'],
  summary: 'asks envoys for an early check-in; --all for the whole fleet',
  flags: z.object({}),
  positional: [{ name: 'target', summary: 'host names, env:…, role:…', optional: true }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const [target] = input.args;
      if ((target === undefined) === !input.globals.all) throw new CodedError('USAGE', 'give either a target or --all');
      const { spoke } = input.globals;
      const reply = await client.call(pushEnvoys, { body: target === undefined ? { all: true, spoke } : { target, spoke } });
      printList(io, output, COLUMNS, reply.envoys, reply);
      if (!output.quiet && output.form !== 'json') io.err(`${reply.pushed} pushed, ${reply.queued} queued until their next check-in\n`);
      return exitOf(input, io, reply);
    }),
});
