import { z } from 'zod';
import { flag } from '../../core/command/flags.ts';
import { enrollHere, enrollmentFlags } from './enrollment.ts';
import { agentCommand, requireRoot, settingsOf } from './globals.ts';

export const register = agentCommand({
  name: ['register'],
  summary: 'enrol this machine with a one-time token',
  flags: z.object({ ...enrollmentFlags, force: flag.on('enrol anew although the machine is enrolled: proves the old key') }),
  async run({ flags, globals }, io) {
    requireRoot(globals, 'register');
    const settings = settingsOf(globals);
    return enrollHere({ ...flags, apiAddr: settings.api_addr, configDir: settings.configDir, json: globals.json }, io);
  },
});
