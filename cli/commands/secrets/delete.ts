/** `vigocli secrets delete`. */
import { z } from 'zod';
import { deleteSecret, secretMeta } from '../../../core/api/secrets.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { printFields } from '../../../core/command/output.ts';
import { cliCommand, confirmed, withClient } from '../../globals.ts';

export const secretsDelete = cliCommand({
  name: ['secrets', 'delete'],
  summary: 'removes a secret',
  flags: z.object({}),
  positional: [{ name: 'path', summary: 'such as db/password' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const path = input.args[0]!;
      const { used_by: uses } = await client.call(secretMeta, { params: { path } });
      const question =
        uses.length === 0 ? `delete ${path}?` : `delete ${path}? ${uses.length} entries use it: ${uses.slice(0, 5).join(', ')}.`;
      if (!(await confirmed(input, io, question))) throw new CodedError('USAGE', 'not confirmed', { hint: '--yes answers the question' });
      const reply = await client.call(deleteSecret, { params: { path } });
      printFields(io, output, [['deleted', reply.path]], reply);
      return 0;
    }),
});
