/** `vigocli auth set-token`. */
import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { CodedError } from '../../../core/base/errors.ts';
import { cliCommand, withClient } from '../../globals.ts';

export const authSetToken = cliCommand({
  name: ['auth', 'set-token'],
  summary: 'writes the token from standard input to the token file',
  flags: z.object({}),
  run: (input, io) =>
    withClient(input, io, async ({ connection }, output) => {
      const typed = io.stdinIsTerminal ? await io.ask('token: ') : await io.stdin();
      const token = (typed ?? '').trim();
      if (!/^vgot_[0-9a-f]{16}_[0-9a-f]{64}$/.test(token))
        throw new CodedError('USAGE', 'that is no API token', { hint: 'it begins with vgot_' });
      const file = connection.tokenFile;
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      writeFileSync(`${file}.new`, `${token}\n`, { mode: 0o600 });
      chmodSync(`${file}.new`, 0o600);
      renameSync(`${file}.new`, file);
      if (!output.quiet) io.err(`written to ${file}\n`);
      return 0;
    }),
});
