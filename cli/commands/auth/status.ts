/** `vigocli auth status`. */
import { z } from 'zod';
import { getSession } from '../../../core/api/session.ts';
import { formatTime, printFields } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

export const authStatus = cliCommand({
  name: ['auth', 'status'],
  summary: 'who this client is at the server',
  flags: z.object({}),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const session = await client.call(getSession);
      const { target } = client.connection;
      const server = target.kind === 'socket' ? target.path : target.url.origin;
      printFields(
        io,
        output,
        [
          ['server', server],
          ['user', session.user],
          ['role', session.role],
          ['permissions', session.permissions.join(' ')],
          ['token', session.token_id],
          ['expires', formatTime(session.expires_at, output)],
        ],
        { server, ...session },
      );
      return 0;
    }),
});
