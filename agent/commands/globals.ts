/** Flags that every command of `vigo` knows (server.md §4.1). */
import { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { createLogger, LOG_LEVELS, type Logger } from '../../core/base/log.ts';
import { Redactor } from '../../core/base/redaction.ts';
import { commandOf } from '../../core/command/command.ts';
import { flag } from '../../core/command/flags.ts';
import { type AgentSettings, readSettings } from '../settings.ts';

export const agentGlobals = z.object({
  server: flag.text('server gRPC address (default localhost:1530)', { value: 'host:port' }),
  apiAddr: flag.text('server REST address (default https://localhost:8443)', { value: 'url' }),
  caFile: flag.text('CA (default in the config directory)', { value: 'path' }),
  certFile: flag.text('client certificate', { value: 'path' }),
  keyFile: flag.text('client key', { value: 'path' }),
  logLevel: flag.oneOf(LOG_LEVELS, 'what is logged'),
  logFormat: flag.oneOf(['json', 'text'], 'how it is logged'),
  executorsDir: flag.text('custom executor scripts', { value: 'path' }),
  snapshotDir: flag.text('file snapshots', { value: 'path' }),
  snapshotRetention: flag.whole('snapshots per file (default 5)'),
  traitRefreshCycles: flag.whole('cycles between refreshes of stable traits (default 10)'),
  resultCacheCycles: flag.whole('equal clean runs told by a heartbeat (default 5)'),
  dryRun: flag.on('preview: nothing is applied'),
  once: flag.on('one cycle, then exit'),
  configDir: flag.text('config directory (default /etc/vigo-envoy)', { value: 'path' }),
  stateDir: flag.text('state directory (default /var/lib/vigo)', { value: 'path' }),
  json: flag.on('machine output on standard output'),
  noColor: flag.on('no colour'),
});
export type AgentGlobals = z.output<typeof agentGlobals>;

export const agentCommand = commandOf<AgentGlobals>();

const text = (value: number | undefined) => (value === undefined ? undefined : String(value));

/** @throws CodedError SETTINGS_INVALID */
export function settingsOf(globals: AgentGlobals): AgentSettings {
  return readSettings(
    {
      server: globals.server,
      api_addr: globals.apiAddr,
      ca_file: globals.caFile,
      cert_file: globals.certFile,
      key_file: globals.keyFile,
      log_level: globals.logLevel,
      log_format: globals.logFormat,
      executors_dir: globals.executorsDir,
      snapshot_dir: globals.snapshotDir,
      snapshot_retention: text(globals.snapshotRetention),
      trait_refresh_cycles: text(globals.traitRefreshCycles),
      result_cache_cycles: text(globals.resultCacheCycles),
      dry_run: globals.dryRun ? 'true' : undefined,
    },
    { configDir: globals.configDir, stateDir: globals.stateDir },
  );
}

/** Log and redactor of one process; what the redactor learns never reaches the log. */
export function loggingOf(settings: Pick<AgentSettings, 'log_level' | 'log_format'>): {
  readonly log: Logger;
  readonly redactor: Redactor;
} {
  const redactor = new Redactor();
  return { redactor, log: createLogger({ level: settings.log_level, format: settings.log_format, redactor }) };
}

/** Root, or directories of one's own (demo, tests). @throws CodedError PERMISSION_DENIED (exit 6) */
export function requireRoot(globals: AgentGlobals, command: string): void {
  const ownDirectories = globals.configDir !== undefined && globals.stateDir !== undefined;
  if (process.getuid?.() !== 0 && !ownDirectories)
    throw new CodedError('PERMISSION_DENIED', `vigo ${command} needs root`, { hint: 'or give both --config-dir and --state-dir' });
}
