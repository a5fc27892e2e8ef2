import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { CodedError, ERROR_CODES, messageOf } from '../../core/base/errors.ts';
import { createLogger } from '../../core/base/log.ts';
import { Redactor } from '../../core/base/redaction.ts';
import { VERSION } from '../../core/base/version.ts';
import type { Command } from '../../core/command/command.ts';
import { flag } from '../../core/command/flags.ts';
import { armFailpoints } from '../failpoints.ts';
import { dataPaths } from '../identity/paths.ts';
import type { Roles } from '../role.ts';
import { startSite } from '../site.ts';
import { dataDirOf, loadSettings, problemLines, type ServerGlobals, serverCommand } from './globals.ts';
import { onDiagnose, onHangUp } from './signals.ts';

/** Exit codes of a start that fails (server.md §3). */
function startExitCode(thrown: unknown): number {
  if (!(thrown instanceof CodedError)) return 1;
  const byCode: Partial<Record<CodedError['code'], number>> = {
    SECRETS_UNAVAILABLE: 5,
    SECRET_MISSING: 5,
    KEY_FILE_PERMISSIONS: 6,
    BUNDLE_REJECTED: 6,
    RELEASE_INVALID: 6,
    WEAK_KEY: 6,
    CERTIFICATE_INVALID: 6,
    STATE_DAMAGED: 7,
    STORE_UNAVAILABLE: 7,
    STORE_FULL: 7,
    DATABASE_FAILED: 7,
  };
  return byCode[thrown.code] ?? ERROR_CODES[thrown.code].exit;
}

/** Resolves at the first TERM or INT; a second one ends the process at once. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.once(name, () => {
        resolve(name);
        process.once(name, () => process.exit(130));
      });
    }
  });
}

/** @param roles what `spanner.role` may name beside standalone */
export const run = (roles: Roles): Command<ServerGlobals> =>
  serverCommand({
    name: ['run'],
    summary: 'run in the foreground until a signal (the default command)',
    flags: z.object({ failpoints: flag.on('obey VIGO_FAILPOINTS (for tests): the process kills itself at the places it names') }),
    async run({ globals, flags }, io) {
      if (flags.failpoints) armFailpoints(io.env['VIGO_FAILPOINTS'] ?? '');
      if (process.getuid?.() === 0 && !globals.allowRoot) {
        throw new CodedError('USAGE', 'vigosrv never needs root', { hint: 'start it as its own user, or give --allow-root' });
      }
      const { result } = loadSettings(globals, io.env);
      if (!result.ok) {
        io.err(problemLines(result));
        return ERROR_CODES.SETTINGS_INVALID.exit;
      }
      const { settings } = result;
      const dataDir = dataDirOf(globals, io.env);
      const redactor = new Redactor();
      const log = createLogger({
        level: globals.logLevel ?? settings.log.level,
        format: globals.logFormat ?? settings.log.format,
        redactor,
      });
      const fatal = (error: Error) => {
        log.error('the server cannot go on', { error });
        process.exit(1);
      };
      process.on('uncaughtException', fatal);
      const stopped = stopSignal();
      onHangUp(result, () => loadSettings(globals, io.env).result, log);
      try {
        const site = await startSite(
          { dataDir, settings, clock: systemClock, log, redactor, version: VERSION, fatal },
          settings.spanner.role === 'standalone' ? undefined : roles[settings.spanner.role],
        );
        writeFileSync(join(dataPaths(dataDir).run, 'vigosrv.pid'), `${process.pid}\n`);
        onDiagnose(site.parts);
        log.info('stopping', { signal: await stopped });
        await site.stop();
        log.info('stopped', {});
        return 0;
      } catch (thrown) {
        log.error('the start failed', {
          code: thrown instanceof CodedError ? thrown.code : 'INTERNAL',
          error: messageOf(thrown),
          hint: thrown instanceof CodedError ? thrown.hint : undefined,
        });
        if (!(thrown instanceof CodedError)) log.error('internal failure', { error: thrown });
        return startExitCode(thrown);
      }
    },
  });
