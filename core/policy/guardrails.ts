/** Self-protection (config.md §10.3): the same pure checks at publish and on the agent, directly before an executor runs. Nothing lowers them. */
import type { Json } from '../base/json.ts';
import { resourceSpec } from '../resources/index.ts';
import { commandFault } from './guarded-command.ts';
import { PROTECTED, type ProtectedSet } from './protected.ts';
import { relationTo } from './protected-path.ts';

export interface GuardFinding {
  readonly rule: 'GUARD-1' | 'GUARD-2' | 'GUARD-3' | 'GUARD-4' | 'GUARD-5' | 'GUARD-6';
  readonly message: string;
}

export interface GuardedResource {
  readonly type: string;
  /** rendered as far as they are known; texts that still hold actions are not judged */
  readonly attributes: Readonly<Record<string, Json>>;
  readonly revert?: boolean | undefined;
  /** the agent: what the touched paths really are once links are followed */
  readonly resolvedPaths?: readonly string[] | undefined;
}

const FILE_LIKE = new Set(
  `file directory symlink file_line blockinfile replace field_edit ini json_file source_package git acl mount tmpfile logrotate smb_share registry`.split(
    ' ',
  ),
);
const COMMAND_KEYS = ['command', 'onlyif', 'unless', 'validate', 'on_revert', 'script', 'restart_command', 'reload_command', 'stream_edit'];
const PATH_KEYS = ['target_path', 'path', 'cwd'];

function texts(value: Json | undefined): string[] {
  if (typeof value === 'string') return value.includes('{{') ? [] : [value];
  return Array.isArray(value) ? value.flatMap((item: Json) => texts(item)) : [];
}

function isTrue(value: Json | undefined): boolean {
  return typeof value === 'string' && /^(true|yes|1)$/i.test(value.trim());
}

function isFalse(value: Json | undefined): boolean {
  return typeof value === 'string' && /^(false|no|0)$/i.test(value.trim());
}

function lower(value: Json | undefined): string {
  return typeof value === 'string' ? value.trim().toLowerCase() : '';
}

function touchedPaths({ type, attributes, resolvedPaths }: GuardedResource): string[] {
  const spec = resourceSpec(type);
  const touched = spec?.touches?.(attributes) ?? PATH_KEYS.filter((key) => key !== 'cwd').flatMap((key) => texts(attributes[key]));
  const links =
    type === 'symlink' && lower(attributes['link_type']) === 'hard' ? [...texts(attributes['to']), ...texts(attributes['target'])] : [];
  const backups = type === 'user' ? texts(attributes['home']) : [];
  return [...touched.filter((path) => !path.includes('{{')), ...links, ...backups, ...(resolvedPaths ?? [])];
}

function pathFindings(resource: GuardedResource, set: ProtectedSet): GuardFinding[] {
  const { type, attributes } = resource;
  const removes = lower(attributes['state']) === 'absent' || resource.revert === true;
  const sweeping =
    (FILE_LIKE.has(type) && removes) ||
    isTrue(attributes['recurse']) ||
    type === 'mount' ||
    type === 'symlink' ||
    type === 'git' ||
    type === 'source_package';
  return touchedPaths(resource).flatMap((path): GuardFinding[] => {
    const relation = relationTo(path, set);
    if (relation === 'inside') return [{ rule: 'GUARD-1', message: `"${path}" belongs to vigo itself` }];
    return relation === 'above' && sweeping ? [{ rule: 'GUARD-1', message: `"${path}" holds files of vigo itself` }] : [];
  });
}

/** Actions replaced by `?`, in linear time. */
function withoutActions(text: string): string {
  let result = '';
  let at = 0;
  for (let open = text.indexOf('{{'); open >= 0; open = text.indexOf('{{', at)) {
    const close = text.indexOf('}}', open);
    if (close < 0) break;
    result += `${text.slice(at, open)}?`;
    at = close + 2;
  }
  return result + text.slice(at);
}

function commandFindings({ type, attributes }: GuardedResource, set: ProtectedSet): GuardFinding[] {
  const commands = [...(resourceSpec(type)?.commands?.(attributes) ?? []), ...COMMAND_KEYS.flatMap((key) => texts(attributes[key]))];
  const findings: GuardFinding[] = [];
  const cwd = texts(attributes['cwd'])[0];
  for (const command of new Set(commands)) {
    // what is still an action cannot be judged here; the agent judges it rendered
    const text = withoutActions(command);
    const fault = commandFault(cwd === undefined ? text : `cd ${cwd}\n${text}`, set);
    if (fault !== undefined) findings.push({ rule: 'GUARD-4', message: `the command ${fault}` });
  }
  return findings;
}

function unitName(value: Json | undefined): string {
  return lower(value).replace(/\.(service|exe)$/, '');
}

function serviceFindings({ type, attributes, revert }: GuardedResource, set: ProtectedSet): GuardFinding[] {
  const name = unitName(attributes['service'] ?? attributes['unit'] ?? attributes['process']);
  const units = [...set.units, ...(type === 'process' ? set.processes : [])].map((unit) => unit.toLowerCase());
  const isOurs =
    units.includes(name) ||
    (type === 'process' && lower(attributes['match_mode']) === 'pattern' && set.processes.some((process) => process.includes(name)));
  if (!isOurs || name === '') return [];
  const state = lower(attributes['state']);
  const stops =
    ['stopped', 'absent', 'disabled', 'masked'].includes(state) ||
    isFalse(attributes['enabled']) ||
    isTrue(attributes['masked']) ||
    revert === true;
  const overrides = type === 'systemd_dropin' || type === 'service_recovery_windows';
  return stops || overrides ? [{ rule: 'GUARD-2', message: `"${name}" is vigo itself and must keep running` }] : [];
}

function removalFindings({ type, attributes, revert }: GuardedResource, set: ProtectedSet): GuardFinding[] {
  const removes = ['absent', 'removed'].includes(lower(attributes['state'])) || revert === true;
  const findings: GuardFinding[] = [];
  if (['package', 'nonrepo_package', 'windows_feature'].includes(type) && removes)
    for (const text of [...texts(attributes['package']), ...texts(attributes['name']), ...texts(attributes['feature'])])
      for (const name of text.split(/[\s,]+/))
        if (set.packages.includes(name.toLowerCase().replace(/[:=@].*$/, '')))
          findings.push({ rule: 'GUARD-3', message: `package "${name}" is vigo itself` });
  if (type === 'user' || type === 'group') {
    const account = lower(attributes['username'] ?? attributes['group'] ?? attributes['name']);
    const locks = type === 'user' && isTrue(attributes['locked']);
    if ((set.accounts.includes(account) && (removes || locks)) || (account === 'root' && removes))
      findings.push({ rule: 'GUARD-6', message: `vigo runs as ${type} "${account}"` });
  }
  if (type === 'host') {
    const names = [...texts(attributes['hostname']), ...texts(attributes['aliases']).flatMap((text) => text.split(/[\s,]+/))];
    for (const name of names)
      if (set.servers.includes(name.toLowerCase()))
        findings.push({ rule: 'GUARD-5', message: `"${name}" is the server of this agent and must not be redirected` });
  }
  return findings;
}

/** Everything a resource would do to vigo itself; empty for all ordinary ones. */
export function guardrailFindings(resource: GuardedResource, set: ProtectedSet = PROTECTED): readonly GuardFinding[] {
  const findings = [
    ...pathFindings(resource, set),
    ...commandFindings(resource, set),
    ...serviceFindings(resource, set),
    ...removalFindings(resource, set),
  ];
  const seen = new Set<string>();
  return findings.filter(({ rule, message }) => {
    const key = `${rule}${message}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}
