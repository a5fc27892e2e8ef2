/** `vigocli version`. */
import { z } from 'zod';
import { getVersion } from '../../../core/api/server.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { VERSION } from '../../../core/base/version.ts';
import { escapeCell, printFields } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

export const version = cliCommand({
  name: ['version'],
  summary: 'versions of client and server',
  flags: z.object({}),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      try {
        const server = await client.call(getVersion);
        printFields(
          io,
          output,
          [
            ['client', VERSION],
            ['server', `${server.version} (node ${server.node}, protocol ${server.protocol})`],
            ['fleet', server.fleet_id],
          ],
          { client: VERSION, server },
        );
      } catch (error) {
        // the own version is an answer without a server too
        if (!(error instanceof CodedError)) throw error;
        printFields(io, output, [['client', VERSION]], { client: VERSION, server: null });
        if (!output.quiet) io.err(`server: ${escapeCell(error.message)}\n`);
      }
      return 0;
    }),
});
