/** `vigocli envoys revoke`. */
import { z } from 'zod';
import { getEnvoy, revokeEnvoy } from '../../../core/api/envoys.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { flag } from '../../../core/command/flags.ts';
import { printFields } from '../../../core/command/output.ts';
import { cliCommand, confirmed, withClient } from '../../globals.ts';

export const envoysRevoke = cliCommand({
  name: ['envoys', 'revoke'],
  summary: 'revokes envoys at once',
  flags: z.object({ reason: flag.needed('kept in the audit log') }),
  positional: [{ name: 'envoy', summary: 'UUID, host name, or a unique prefix', many: true }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const envoys = [];
      for (const name of input.args) envoys.push(await client.call(getEnvoy, { params: { id: name } }));
      const names = envoys.map(({ hostname }) => hostname).join(', ');
      if (!(await confirmed(input, io, `revoke ${names}? They lose access at once.`)))
        throw new CodedError('USAGE', 'not confirmed', { hint: '--yes answers the question' });
      for (const { id } of envoys) await client.call(revokeEnvoy, { params: { id }, body: { reason: input.flags.reason } });
      printFields(io, output, [['revoked', names]], { revoked: envoys.map(({ id, hostname }) => ({ id, hostname, status: 'revoked' })) });
      return 0;
    }),
});
