/** `vigocli config validate`. */
import { z } from 'zod';
import { validateConfig } from '../../../core/api/config.ts';
import { flag } from '../../../core/command/flags.ts';
import { formatJson } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';
import { plural, printFindings } from './findings.ts';

export const configValidate = cliCommand({
  name: ['config', 'validate'],
  summary: 'validates the stage of the server; exit 1 when there are errors',
  flags: z.object({ strict: flag.on('warnings count as errors'), skipUrlCheck: flag.on('do not ask URLs whether they are alive') }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { strict, skipUrlCheck } = input.flags;
      const reply = await client.call(validateConfig, { body: { strict, skip_url_check: skipUrlCheck } });
      if (output.form === 'json') io.out(formatJson(reply));
      else {
        printFindings(io, reply.findings);
        io.out(`${plural(reply.errors, 'error')}, ${plural(reply.warnings, 'warning')}\n`);
      }
      return reply.errors > 0 || (strict && reply.warnings > 0) ? 1 : 0;
    }),
});
