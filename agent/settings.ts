/** Settings of the agent: flags, then `<config-dir>/config` (lines `key = value`), then defaults (server.md §4.1). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { didYouMean } from '../core/base/did-you-mean.ts';
import { CodedError } from '../core/base/errors.ts';
import { LOG_LEVELS } from '../core/base/log.ts';

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);
const count = z.coerce.number().int().nonnegative();

/** Keys of the config file; flags have the same names with `-`. */
const settingsSchema = z.object({
  server: z.string().default('localhost:1530'),
  api_addr: z.string().default('https://localhost:8443'),
  fallback_servers: list.default([]),
  ca_file: z.string().optional(),
  cert_file: z.string().optional(),
  key_file: z.string().optional(),
  log_level: z.enum(LOG_LEVELS).default('info'),
  log_format: z.enum(['json', 'text']).default('json'),
  executors_dir: z.string().optional(),
  snapshot_dir: z.string().optional(),
  snapshot_retention: count.default(5),
  trait_refresh_cycles: count.default(10),
  result_cache_cycles: count.default(5),
  dry_run: z.stringbool().default(false),
  hostname: z.string().optional(),
  site_id: z.string().default('main'),
  fleet_id: z.string().optional(),
  owner_epoch: z.coerce.number().int().positive().default(1),
  spoke: z.string().optional(),
});
export type AgentSettings = z.output<typeof settingsSchema> & { readonly configDir: string; readonly stateDir: string };
export type SettingName = keyof typeof settingsSchema.shape;
export const SETTING_NAMES = Object.keys(settingsSchema.shape) as readonly SettingName[];

export const DEFAULT_CONFIG_DIR = '/etc/vigo-envoy';
export const DEFAULT_STATE_DIR = '/var/lib/vigo';

function parseFile(file: string): Record<string, string> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new CodedError('SETTINGS_INVALID', `cannot read ${file}`, { cause });
  }
  const found: Record<string, string> = {};
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const equals = line.indexOf('=');
    const key = line.slice(0, Math.max(0, equals)).trim();
    const at = { file, line: index + 1, column: 1 };
    if (equals < 0 || key === '') throw new CodedError('SETTINGS_INVALID', `${file}:${index + 1}: not a "key = value" line`, { at });
    if (!SETTING_NAMES.includes(key as SettingName))
      throw new CodedError('SETTINGS_INVALID', `${file}:${index + 1}: unknown key "${key}"`, { at, hint: didYouMean(key, SETTING_NAMES) });
    found[key] = line.slice(equals + 1).trim();
  }
  return found;
}

/** @param flags setting names with `_`; undefined values are absent. @throws CodedError SETTINGS_INVALID with file and line */
export function readSettings(
  flags: Readonly<Partial<Record<SettingName, string | undefined>>>,
  dirs: { readonly configDir?: string | undefined; readonly stateDir?: string | undefined } = {},
): AgentSettings {
  const configDir = dirs.configDir ?? DEFAULT_CONFIG_DIR;
  const stateDir = dirs.stateDir ?? DEFAULT_STATE_DIR;
  const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
  const parsed = settingsSchema.safeParse({ ...parseFile(join(configDir, 'config')), ...given });
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new CodedError('SETTINGS_INVALID', `${issue.path.join('.')}: ${issue.message}`, {
      hint: `look at ${join(configDir, 'config')} and the flags`,
    });
  }
  return { ...parsed.data, configDir, stateDir };
}

/** The text of a config file. */
export function formatSettings(values: Readonly<Partial<Record<SettingName, string>>>): string {
  return Object.entries(values)
    .map(([key, value]) => `${key} = ${value}\n`)
    .join('');
}
