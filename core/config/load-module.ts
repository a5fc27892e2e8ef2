/** One file of the module library (config.md §5.1). */
import type { SourceLocation } from '../base/problem.ts';
import { ResourceReader } from './load-resource.ts';
import type { YamlMap } from './parse.ts';
import { type KeyedNode, type NodeReader, readKeys } from './read-node.ts';
import type { Module, Named } from './snapshot.ts';

const MODULE_KEYS = {
  name: ['configcrate', 'module'],
  description: [],
  version: [],
  when: [],
  vars: [],
  environment_overrides: [],
  vars_when: [],
  defaults: [],
  depends_on: [],
  notify: [],
  subscribes: [],
  compliance: [],
  resources: [],
} as const;

export const MODULE_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
export const FRAMEWORKS = ['cis', 'hipaa', 'nist-800-53', 'pci-dss', 'soc-2', 'iso-27001', 'disa-stig'] as const;
const FRAMEWORK_ALIASES: Readonly<Record<string, string>> = {
  nist: 'nist-800-53',
  pci: 'pci-dss',
  soc2: 'soc-2',
  iso27001: 'iso-27001',
  stig: 'disa-stig',
};

/** The canonical name of a framework, with its profile suffix; undefined when it is none of ours. */
export function canonicalFramework(text: string): string | undefined {
  const word = text.trim().toLowerCase();
  for (const name of FRAMEWORKS) if (word === name || word.startsWith(`${name}-`)) return word;
  for (const [alias, name] of Object.entries(FRAMEWORK_ALIASES))
    if (word === alias || word.startsWith(`${alias}-`)) return `${name}${word.slice(alias.length)}`;
  return undefined;
}

/** Control ids: texts only, because YAML reads 8.10 as 8.1. */
export function readControls(reader: NodeReader, member: KeyedNode | undefined, what: string): readonly Named[] {
  const items = member === undefined ? [] : member.value.kind === 'list' ? member.value.items : [member.value];
  return items.flatMap((item) => {
    if (item.kind === 'scalar' && typeof item.value === 'string') return [{ name: item.value.trim(), at: item.at }];
    if (item.kind === 'scalar' && typeof item.value === 'number')
      reader.findings.error('SCHEMA-3', item.at, `control ids in ${what} must be quoted`, { hint: `write "${item.plain ?? item.value}"` });
    else reader.findings.error('SCHEMA-1', item.at, `${what} must hold control ids`);
    return [];
  });
}

function readCompliance(reader: NodeReader, member: KeyedNode | undefined, module: string): ReadonlyMap<string, readonly Named[]> {
  const claims = new Map<string, readonly Named[]>();
  for (const [key, entry] of reader.map(member?.value, '"compliance"')?.entries ?? []) {
    const framework = canonicalFramework(key);
    if (framework === undefined) reader.findings.error('COMP-1', entry.keyAt, `unknown framework "${key}"`, { module });
    const controls = readControls(reader, entry, `"compliance.${key}"`);
    if (framework !== undefined) claims.set(framework, [...(claims.get(framework) ?? []), ...controls]);
  }
  return claims;
}

function checkName(reader: NodeReader, name: string, at: SourceLocation, file: string): void {
  if (!MODULE_NAME.test(name))
    reader.findings.error('SCHEMA-10', at, `"${name}" is not a module name`, {
      hint: 'a-z 0-9 . _ - , at most 64, starting with a letter or digit',
    });
  else if (file.slice(file.lastIndexOf('/') + 1) !== `${name}.vgo`)
    reader.findings.info('REF-3', at, `module "${name}" is kept in a file of another name`);
}

/** Undefined when the file does not say which module it is. */
export function loadModule(reader: NodeReader, file: string, root: YamlMap): Module | undefined {
  const members = readKeys(root, MODULE_KEYS, 'a module', reader.findings);
  const name = reader.text(members.get('name'), '"name"');
  if (name === undefined) {
    reader.findings.error('SCHEMA-6', root.at, 'a module needs a name');
    return undefined;
  }
  checkName(reader, name.value, name.at, file);
  const names = (key: string) => reader.names(members.get(key), `"${key}"`);
  const resources = reader.list(members.get('resources'), '"resources"');
  if (resources.length === 0) reader.findings.info('SCHEMA-6', root.at, `module "${name.value}" has no resources`, { module: name.value });
  if (resources.length > 2_000) reader.findings.error('LIMIT-1', root.at, `module "${name.value}" has more than 2,000 resources`);
  const defaults = reader.map(members.get('defaults')?.value, '"defaults"');
  return {
    name: name.value,
    file,
    at: name.at,
    description: reader.text(members.get('description'), '"description"')?.value,
    version: reader.text(members.get('version'), '"version"')?.value,
    when: reader.text(members.get('when'), '"when"'),
    vars: reader.vars(members.get('vars')?.value, '"vars"'),
    environmentOverrides: reader.environmentVars(members.get('environment_overrides')),
    varsWhen: reader.varsWhen(members.get('vars_when')),
    dependsOn: names('depends_on'),
    notify: names('notify'),
    subscribes: names('subscribes'),
    compliance: readCompliance(reader, members.get('compliance'), name.value),
    resources: new ResourceReader(reader, name.value, defaults).read(resources),
  };
}
