/** Flags that every command of `vigosrv` knows (server.md §3). */
import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { LOG_LEVELS } from '../../core/base/log.ts';
import { formatProblem } from '../../core/base/problem.ts';
import { commandOf } from '../../core/command/command.ts';
import { flag } from '../../core/command/flags.ts';
import { readSettings, type SettingsResult } from '../settings.ts';

export const serverGlobals = z.object({
  dataDir: flag.text('data directory (default /srv/vigo, or VIGO_DATA_DIR)', { value: 'path' }),
  config: flag.text('settings file (default <data-dir>/server.yaml, or VIGO_CONFIG_FILE)', { value: 'file' }),
  logLevel: flag.oneOf(LOG_LEVELS, 'what is logged'),
  logFormat: flag.oneOf(['json', 'text'], 'how it is logged'),
  allowRoot: flag.on('start although the user is root'),
});
export type ServerGlobals = z.output<typeof serverGlobals>;

export const serverCommand = commandOf<ServerGlobals>();

export function dataDirOf(globals: ServerGlobals, env: Readonly<Record<string, string | undefined>>): string {
  return globals.dataDir ?? env['VIGO_DATA_DIR'] ?? '/srv/vigo';
}

/** The full name of this machine, for settings that do not name one. */
export function systemHostname(): string {
  return hostname().toLowerCase();
}

/** @throws CodedError SETTINGS_INVALID when the file cannot be read */
export function loadSettings(
  globals: ServerGlobals,
  env: Readonly<Record<string, string | undefined>>,
): { readonly file: string; readonly result: SettingsResult } {
  const file = globals.config ?? env['VIGO_CONFIG_FILE'] ?? join(dataDirOf(globals, env), 'server.yaml');
  if (!existsSync(file))
    throw new CodedError('SETTINGS_INVALID', `there is no settings file ${file}`, { hint: 'make a new site with: vigosrv init' });
  return { file, result: readSettings(readFileSync(file, 'utf8'), { file, hostname: systemHostname() }) };
}

/** All problems, a line each. */
export function problemLines(result: Extract<SettingsResult, { ok: false }>): string {
  return result.problems.map((problem) => `${formatProblem(problem)}\n`).join('');
}
