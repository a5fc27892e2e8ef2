/** `vigocli tokens create`. */
import { z } from 'zod';
import { createTokens } from '../../../core/api/tokens.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { flag } from '../../../core/command/flags.ts';
import { type Column, formatTime, printList } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

type Made = z.output<typeof createTokens.reply>['items'][number];

const COLUMNS: readonly Column<Made>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'PATTERN', value: (row) => row.pattern },
  { title: 'EXPIRES', value: (row, output) => formatTime(row.expires_at, output) },
  { title: 'TOKEN', value: (row) => row.token },
];

export function labelsOf(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new CodedError('USAGE', `--label "${pair}" is not key=value`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

export const tokensCreate = cliCommand({
  name: ['tokens', 'create'],
  summary: 'makes enrolment tokens, shown once',
  flags: z.object({
    pattern: flag.needed('host names that may use it', { value: 'glob' }),
    ttl: flag.duration('life of the token'),
    count: flag.whole('how many (1)'),
    environment: flag.text('the entry of the host must have this environment'),
    label: flag.many('label of the envoy', { value: 'k=v' }),
    note: flag.text('for people'),
  }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { pattern, ttl, count, environment, label, note } = input.flags;
      const { spoke } = input.globals;
      const body = {
        pattern,
        count,
        environment,
        note,
        labels: labelsOf(label),
        ...(ttl === undefined ? {} : { ttl_s: Math.ceil(ttl / 1000) }),
        ...(spoke === undefined ? {} : { spoke }),
      };
      const reply = await client.call(createTokens, { body });
      printList(io, output, COLUMNS, reply.items, reply);
      if (output.form !== 'table' || output.quiet) return 0;
      io.err(`on the machine: ${reply.bootstrap}\n`);
      if (reply.permits_left !== undefined) io.err(`this spoke may make ${reply.permits_left} more before its hub gives it new permits\n`);
      return 0;
    }),
});
