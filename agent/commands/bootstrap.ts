import { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { flag } from '../../core/command/flags.ts';
import { installService } from '../enroll/install-service.ts';
import { LocalSystem } from '../system/local-system.ts';
import { enrollHere, enrollmentFlags } from './enrollment.ts';
import { agentCommand, requireRoot, settingsOf } from './globals.ts';

export const bootstrap = agentCommand({
  name: ['bootstrap'],
  summary: 'keys, enrolment and certificates in one step, with the service if asked',
  details: 'Here --server takes the REST address of the server, https://host:8443.',
  flags: z.object({
    ...enrollmentFlags,
    grpcPort: flag.whole('gRPC port of the server (default: what the server says)'),
    force: flag.on('enrol anew although the machine is enrolled'),
    installService: flag.on('install, enable and start the service of this platform'),
  }),
  async run({ flags, globals }, io) {
    requireRoot(globals, 'bootstrap');
    const given = globals.server ?? globals.apiAddr;
    if (given === undefined) throw new CodedError('USAGE', 'bootstrap needs --server <https url>');
    const apiAddr = given.startsWith('https://') ? given : `https://${given}`;
    const { configDir } = settingsOf({ ...globals, server: undefined });
    const code = await enrollHere({ ...flags, apiAddr, configDir, json: globals.json }, io);
    if (code !== 0 || !flags.installService) return code;
    const unit = await installService(new LocalSystem(), {
      program: process.execPath,
      configDir: globals.configDir,
      stateDir: globals.stateDir,
    });
    io.err(`service ${unit} is installed and running\n`);
    return 0;
  },
});
