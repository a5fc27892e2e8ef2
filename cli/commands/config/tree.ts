/** `vigocli config tree`. */
import { z } from 'zod';
import { configTree } from '../../../core/api/config.ts';
import { flag } from '../../../core/command/flags.ts';
import { escapeCell, formatJson } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

export const configTreeCommand = cliCommand({
  name: ['config', 'tree'],
  summary: 'directories with their marks (C common, E environments, W waivers) and entries in order',
  flags: z.object({ stage: flag.on('the stage instead of the live release') }),
  positional: [{ name: 'dir', summary: 'only below this directory', optional: true }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const tree = await client.call(configTree, { query: { dir: input.args[0], stage: input.flags.stage ? 'true' : undefined } });
      if (output.form === 'json') {
        io.out(formatJson(tree));
        return 0;
      }
      for (const { path, marks, entries } of tree.directories) {
        const depth = path === '' ? 0 : path.split('/').length;
        const indent = '  '.repeat(depth);
        io.out(`${indent}${escapeCell(path === '' ? '.' : path.split('/').at(-1)!)}/${marks === '' ? '' : `  [${marks}]`}\n`);
        for (const entry of entries) {
          const environment = entry.environment === null ? '' : `  env ${entry.environment}`;
          io.out(
            `${indent}  #${entry.ordinal} ${escapeCell(entry.patterns.join(', '))}${escapeCell(environment)}  ${entry.envoys} envoys  ${escapeCell(entry.file)}:${entry.line}\n`,
          );
        }
      }
      return 0;
    }),
});
