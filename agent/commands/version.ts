import { z } from 'zod';
import { VERSION } from '../../core/base/version.ts';
import { formatJson } from '../../core/command/output.ts';
import { PROTOCOL_VERSION } from '../../proto/load.ts';
import { agentCommand } from './globals.ts';

export const version = agentCommand({
  name: ['version'],
  summary: 'version of the agent; with --json also commit and protocol',
  flags: z.object({}),
  run({ globals }, io) {
    const commit = null;
    io.out(globals.json ? formatJson({ version: VERSION, commit, protocol: PROTOCOL_VERSION }) : `vigo ${VERSION}\n`);
    return Promise.resolve(0);
  },
});
