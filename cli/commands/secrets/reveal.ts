/** `vigocli secrets reveal`: to a terminal only, recorded by the server first. */
import { z } from 'zod';
import { revealSecret } from '../../../core/api/secrets.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { flag } from '../../../core/command/flags.ts';
import { escapeText } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

export const secretsReveal = cliCommand({
  name: ['secrets', 'reveal'],
  summary: 'shows the value of a secret on a terminal; audited',
  flags: z.object({ reason: flag.needed('kept in the audit log') }),
  positional: [{ name: 'path', summary: 'such as db/password' }],
  run: (input, io) => {
    if (!io.stdoutIsTerminal || input.globals.json)
      throw new CodedError('USAGE', 'a secret is shown on a terminal only', { hint: 'not into files, pipes or --json' });
    return withClient(input, io, async (client) => {
      const { value } = await client.call(revealSecret, { params: { path: input.args[0]! }, body: { reason: input.flags.reason } });
      io.out(`${escapeText(Buffer.from(value, 'base64').toString('utf8'))}\n`);
      return 0;
    });
  },
});
