import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { formatDuration } from '../../core/base/duration.ts';
import { escapeCell, formatJson } from '../../core/command/output.ts';
import { LocalSystem } from '../system/local-system.ts';
import { agentCommand, settingsOf } from './globals.ts';
import { type StatusFacts, type StatusPolicy, statusFacts } from './status-facts.ts';

const VALUE_COLUMN = 18;

export const status = agentCommand({
  name: ['status'],
  summary: 'what this agent is, holds and does; never touches the network',
  flags: z.object({}),
  async run({ globals }, io) {
    const facts = await statusFacts(settingsOf(globals), new LocalSystem(), systemClock.now());
    io.out(globals.json ? formatJson(facts) : formatStatus(facts));
    return 0;
  },
});

const row = (label: string, value: string) => `${`${label}:`.padEnd(VALUE_COLUMN)}${escapeCell(value)}`;
const sub = (label: string, value: string) => row(`  ${label}`, value);
const listed = (words: readonly string[]) => (words.length === 0 ? 'none' : words.join(', '));

/** Labels, order and alignment are part of the interface (server.md §4.5). */
export function formatStatus(facts: StatusFacts): string {
  const unavailable = facts.state_store_error === null ? undefined : '(state store unavailable)';
  const lines = [
    row('Envoy ID', facts.envoy_id ?? '(not registered)'),
    row('Server', facts.server),
    ...(facts.spoke === null ? [] : [row('Spoke', facts.spoke)]),
    ...(facts.owner_epoch > 1 ? [row('Owner epoch', String(facts.owner_epoch))] : []),
    row('Fallback servers', listed(facts.fallback_servers)),
    row('Data directory', facts.data_directory),
    row('State store', facts.state_store),
    row('Enforcing', unavailable ?? enforcing(facts)),
    ...(facts.mode === null ? [] : [row('Mode', facts.mode)]),
    ...facts.warnings.map((warning) => row('Warning', warning)),
    '',
    ...(unavailable === undefined
      ? ['Policy:', ...policyLines(facts.policy)]
      : [row('Policy', `(state store unavailable: ${facts.state_store_error})`)]),
    '',
    ...(unavailable === undefined ? ['Traits:', ...traitLines(facts)] : [row('Traits', unavailable)]),
    '',
    row('Pending results', unavailable ?? String(facts.pending_results)),
    row('Server pubkey', facts.server_pubkey ? 'present' : 'absent'),
  ];
  return `${lines.join('\n')}\n`;
}

function enforcing({ release, proven_current_at, policy }: StatusFacts): string {
  if (policy === null || release === null) return 'nothing';
  return `release ${release}${proven_current_at === null ? '' : `, proven current at ${proven_current_at}`}`;
}

function policyLines(policy: StatusPolicy | null): string[] {
  if (policy === null) return [sub('Cached', 'no')];
  return [
    sub('Cached', 'yes'),
    sub('Version', policy.version),
    sub('Match', policy.match),
    sub('Environment', policy.environment ?? 'none'),
    sub('Roles', listed(policy.roles)),
    sub('Modules', policy.modules.length === 0 ? '0' : `${policy.modules.length} (${policy.modules.map(({ name }) => name).join(', ')})`),
    sub('Resources', String(policy.resources)),
    sub('Max age', policy.max_age_s === null ? 'none' : `${policy.max_age_s}s`),
    ...policy.modules.flatMap(({ name, resources }) => [
      `  [${escapeCell(name)}]`,
      ...resources.map(({ type, primary }) => `    ${escapeCell(type)}: ${escapeCell(primary)}`),
    ]),
  ];
}

function traitLines({ traits }: StatusFacts): string[] {
  if (traits === null) return [sub('Cached', 'no')];
  return [sub('Cached', 'yes'), sub('Collectors', String(traits.collectors)), sub('Cache age', formatDuration(traits.age_ms))];
}
