/** `vigocli spanner spoke remove`. */
import { z } from 'zod';
import { removeSpoke } from '../../../core/api/spanner.ts';
import { printFields } from '../../../core/command/output.ts';
import { cliCommand, confirmed, withClient } from '../../globals.ts';

export const spokeRemove = cliCommand({
  name: ['spanner', 'spoke', 'remove'],
  summary: 'removes a drained or evacuated spoke and revokes its server',
  flags: z.object({}),
  positional: [{ name: 'id', summary: 'id of the spoke' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const id = input.args[0]!;
      if (!(await confirmed(input, io, `Remove the spoke ${id} for good? Its server is revoked everywhere.`))) {
        io.err('nothing was changed; --yes answers in scripts\n');
        return 1;
      }
      const removed = await client.call(removeSpoke, { params: { id } });
      printFields(
        io,
        output,
        [
          ['removed', removed.id],
          ['revoked', removed.revoked_serials.join(' ')],
        ],
        removed,
      );
      return 0;
    }),
});
