import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { createLogger } from '../../core/base/log.ts';
import { VERSION } from '../../core/base/version.ts';
import { flag } from '../../core/command/flags.ts';
import { readKeyFile } from '../../core/crypto/key-file.ts';
import { lockDataDirectory } from '../data-lock.ts';
import { prepareDirectories } from '../identity/directories.ts';
import { askToJoin } from '../identity/join-hub.ts';
import { parseJoinToken } from '../identity/join-token.ts';
import { carryThroughJoin, intendJoin, isJoining } from '../identity/succeed.ts';
import { readSettings } from '../settings.ts';
import { dataDirOf, loadSettings, serverCommand, systemHostname } from './globals.ts';

/** The settings of the spoke that this server becomes; everything else in the file stays as it is. @throws CodedError SETTINGS_INVALID */
function spokeSettings(text: string, spokeId: string, hubAddr: readonly string[]): string {
  const document = parseDocument(text);
  document.deleteIn(['server', 'site_id']);
  document.set('spanner', document.createNode({ role: 'spoke', spoke_id: spokeId, hub_addr: [...hubAddr] }));
  const changed = document.toString();
  const read = readSettings(changed, { file: 'server.yaml', hostname: systemHostname() });
  if (!read.ok) throw new CodedError('SETTINGS_INVALID', read.problems.map(({ message }) => message).join('; '));
  return changed;
}

export const joinCommand = serverCommand({
  name: ['join'],
  summary: 'makes a stopped stand-alone server a spoke of a hub; its envoys stay with it',
  details:
    'Its own root key signs that the hub succeeds it: envoys follow at their next check-in, without a new enrolment. Its releases are put aside, the hub offers the next one; unspent enrolment tokens end. An interrupted join is carried through by the same command.',
  flags: z.object({
    hubAddr: flag.many('the hub, where agents dial it', { value: 'host:port' }),
    hubTokenFile: flag.text('what "vigocli spanner spoke add" printed on the hub', { value: 'file' }),
  }),
  async run({ flags, globals }, io) {
    const dataDir = dataDirOf(globals, io.env);
    const paths = prepareDirectories(dataDir);
    const lock = lockDataDirectory(join(paths.run, 'lock'));
    try {
      if (!isJoining(paths)) {
        const { file, result } = loadSettings(globals, io.env);
        if (!result.ok) throw new CodedError('SETTINGS_INVALID', 'server.yaml is not valid', { hint: 'vigosrv check-config' });
        if (result.settings.spanner.role !== 'standalone')
          throw new CodedError('USAGE', `this server is a ${result.settings.spanner.role}, not a stand-alone server`);
        if (file !== paths.settings) throw new CodedError('USAGE', `the settings must lie in ${paths.settings} for a join`);
        if (flags.hubAddr.length === 0 || flags.hubTokenFile === undefined)
          throw new CodedError('USAGE', '--hub-addr and --hub-token-file are needed');
        const token = parseJoinToken(readKeyFile(flags.hubTokenFile));
        const settings = spokeSettings(readFileSync(file, 'utf8'), token.spokeId, flags.hubAddr);
        const log = createLogger({ level: globals.logLevel ?? 'warn', format: globals.logFormat ?? 'text' });
        const reply = await askToJoin({ paths, version: VERSION, clock: systemClock, log }, token);
        intendJoin(paths, reply, settings, systemClock.now());
      }
      const { site_id: siteId, fleet_id: fleetId } = carryThroughJoin(paths);
      if (flags.hubTokenFile !== undefined) rmSync(flags.hubTokenFile, { force: true });
      io.out(`This server is now the spoke ${siteId} of the fleet ${fleetId}.\nNext: vigosrv --data-dir ${dataDir} run\n`);
      return 0;
    } finally {
      lock.release();
    }
  },
});
