/** `vigocli auth revoke-token`. */
import { z } from 'zod';
import { revokeApiToken } from '../../../core/api/session.ts';
import { printFields } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

export const authRevokeToken = cliCommand({
  name: ['auth', 'revoke-token'],
  summary: 'revokes an API token',
  flags: z.object({}),
  positional: [{ name: 'id', summary: 'id of the token' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const reply = await client.call(revokeApiToken, { params: { id: input.args[0]! } });
      printFields(io, output, [['revoked', reply.id]], reply);
      return 0;
    }),
});
