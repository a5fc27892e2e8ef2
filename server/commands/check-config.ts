import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { formatLocation } from '../../core/base/problem.ts';
import { flag } from '../../core/command/flags.ts';
import { certificateNames } from '../addresses.ts';
import { dataPaths } from '../identity/paths.ts';
import { openIdentity } from '../identity/server-identity.ts';
import { openSecrets } from '../secrets/index.ts';
import { effectiveSettings } from '../settings.ts';
import { dataDirOf, loadSettings, problemLines, serverCommand } from './globals.ts';

export const checkConfig = serverCommand({
  name: ['check-config'],
  summary: 'check server.yaml: exit 0 valid, 3 invalid',
  flags: z.object({
    print: flag.on('write the effective settings with the origin of each value, secrets masked'),
    json: flag.on('one JSON document on standard output'),
    release: flag.on('also open keys and the secrets provider'),
  }),
  async run({ flags, globals }, io) {
    const { result } = loadSettings(globals, io.env);
    if (!result.ok) {
      if (flags.json) io.out(`${JSON.stringify({ valid: false, problems: result.problems })}\n`);
      else io.err(problemLines(result));
      return 3;
    }
    if (flags.release) {
      const dataDir = dataDirOf(globals, io.env);
      const { settings } = result;
      await openIdentity(dataPaths(dataDir), {
        names: certificateNames(settings),
        certDays: settings.server.tls.server_cert_days,
        now: systemClock.now(),
      });
      await openSecrets(settings.secrets, dataDir).check();
    }
    const values = effectiveSettings(result).map(({ key, value, from }) => ({
      key,
      value,
      origin: from === undefined ? 'default' : formatLocation(from),
    }));
    if (flags.json) io.out(`${JSON.stringify({ valid: true, ...(flags.print ? { settings: values } : {}) })}\n`);
    else if (flags.print)
      io.out(values.map(({ key, value, origin }) => `${key.padEnd(36)} ${JSON.stringify(value).padEnd(28)} ${origin}\n`).join(''));
    else io.out('valid\n');
    return 0;
  },
});
