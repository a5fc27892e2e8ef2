/** `vigocli auth create-token`. */
import { z } from 'zod';
import { PERMISSIONS } from '../../../core/api/permissions.ts';
import { createApiToken } from '../../../core/api/session.ts';
import { didYouMean } from '../../../core/base/did-you-mean.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { flag } from '../../../core/command/flags.ts';
import { printFields } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

export const authCreateToken = cliCommand({
  name: ['auth', 'create-token'],
  summary: 'makes an API token, shown once',
  flags: z.object({
    name: flag.needed('what the token is for'),
    expiresIn: flag.duration('life of the token (720h)'),
    scope: flag.many('permissions, comma-separated; default all of the role', { value: 'perm,…' }),
    user: flag.text('owner; needed on the local socket'),
  }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { name, expiresIn, scope, user } = input.flags;
      const wanted = scope.flatMap((each) => each.split(',')).map((each) => each.trim());
      const scopes = wanted.map((each) => {
        const known = PERMISSIONS.find((permission) => permission === each);
        if (known === undefined) throw new CodedError('USAGE', `unknown permission "${each}"`, { hint: didYouMean(each, PERMISSIONS) });
        return known;
      });
      const made = await client.call(createApiToken, {
        body: { name, scopes, user, ...(expiresIn === undefined ? {} : { expires_in_s: Math.ceil(expiresIn / 1000) }) },
      });
      printFields(
        io,
        output,
        [
          ['ID', made.id],
          ['Name', made.name],
          ['Token', made.token],
        ],
        made,
      );
      if (!output.quiet && output.form !== 'json') io.err('shown once; to use it: vigocli auth set-token\n');
      return 0;
    }),
});
