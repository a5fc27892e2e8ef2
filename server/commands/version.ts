import { z } from 'zod';
import { VERSION } from '../../core/base/version.ts';
import { flag } from '../../core/command/flags.ts';
import { PROTOCOL_VERSION } from '../../proto/load.ts';
import { serverCommand } from './globals.ts';

export const version = serverCommand({
  name: ['version'],
  summary: 'version and protocol',
  flags: z.object({ json: flag.on('one JSON document on standard output') }),
  async run({ flags }, io) {
    if (flags.json) io.out(`${JSON.stringify({ version: VERSION, protocol: PROTOCOL_VERSION, node: process.version })}\n`);
    else io.out(`vigosrv ${VERSION} (protocol ${PROTOCOL_VERSION}, Node ${process.version})\n`);
    return 0;
  },
});
