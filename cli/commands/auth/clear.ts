/** `vigocli auth clear`. */
import { rmSync } from 'node:fs';
import { z } from 'zod';
import { cliCommand } from '../../globals.ts';
import { cliPaths } from '../../settings.ts';

export const authClear = cliCommand({
  name: ['auth', 'clear'],
  summary: 'removes the token file',
  flags: z.object({}),
  run: ({ globals }, io) => {
    rmSync(globals.tokenFile ?? io.env['VIGO_TOKEN_FILE'] ?? cliPaths(io.env).token, { force: true });
    return Promise.resolve(0);
  },
});
