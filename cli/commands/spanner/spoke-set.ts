/** `vigocli spanner spoke set`. */
import { z } from 'zod';
import { setSpoke } from '../../../core/api/spanner.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { printFields } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';
import { spokeBody, spokeFlags } from './spoke-add.ts';

export const spokeSet = cliCommand({
  name: ['spanner', 'spoke', 'set'],
  summary: 'changes patterns, weight, labels or address of a spoke',
  flags: z.object(spokeFlags),
  positional: [{ name: 'id', summary: 'id of the spoke' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const body = spokeBody(input.flags);
      if (Object.keys(body).length === 0)
        throw new CodedError('USAGE', 'nothing to change', { hint: '--pattern, --weight, --label or --addr' });
      const spoke = await client.call(setSpoke, { params: { id: input.args[0]! }, body });
      printFields(
        io,
        output,
        [
          ['id', spoke.id],
          ['address', spoke.addr],
          ['patterns', spoke.patterns.join(' ')],
          ['weight', spoke.weight],
          [
            'labels',
            Object.entries(spoke.labels)
              .map(([key, value]) => `${key}=${value}`)
              .join(' '),
          ],
        ],
        spoke,
      );
      return 0;
    }),
});
