/** Entry files, common.vgo, environments.vgo, roles and waivers (config.md §2.1, §3, §17.3). */
import { canonicalFramework, readControls } from './load-module.ts';
import type { YamlMap, YamlNode } from './parse.ts';
import { type KeyedNode, type NodeReader, readKeys } from './read-node.ts';
import type { Entry, EnvironmentBlock, Layer, Role, RoleCase, Waiver } from './snapshot.ts';
import { type Located, toJson } from './values.ts';

const MODULES = ['configcrates', 'configcrate'] as const;
const EXCLUDES = ['exclude_configcrates'] as const;
const COMMON_KEYS = {
  modules: MODULES,
  roles: [],
  exclude_modules: EXCLUDES,
  vars: [],
  vars_from: [],
  vars_when: [],
  environment: [],
  observe_only: [],
  description: [],
} as const;
const ENTRY_KEYS = { ...COMMON_KEYS, match: ['hostname'], environment_overrides: [], devices: [] } as const;
const ENVOYS = ['envoys', 'nodes'];

function readLayer(reader: NodeReader, file: string, node: YamlNode, members: ReadonlyMap<string, KeyedNode>): Layer {
  const names = (key: string) => reader.names(members.get(key), `"${key}"`);
  const modules = names('modules');
  const excludeModules = names('exclude_modules');
  const excluded = new Set(excludeModules.map(({ name }) => name));
  for (const { name, at } of modules)
    if (excluded.has(name)) reader.findings.error('REF-9', at, `module "${name}" is both added and excluded here`, { module: name });
  const environment = reader.text(members.get('environment'), '"environment"');
  return {
    file,
    at: node.at,
    modules,
    roles: names('roles'),
    excludeModules,
    vars: reader.vars(members.get('vars')?.value, '"vars"'),
    varsFrom: names('vars_from'),
    varsWhen: reader.varsWhen(members.get('vars_when')),
    environment: environment === undefined ? undefined : { name: environment.value, at: environment.at },
    observeOnly: reader.flag(members.get('observe_only'), '"observe_only"'),
    description: reader.text(members.get('description'), '"description"')?.value,
  };
}

export function loadCommon(reader: NodeReader, file: string, root: YamlMap): Layer {
  return readLayer(reader, file, root, readKeys(root, COMMON_KEYS, 'common.vgo', reader.findings));
}

function readEntry(reader: NodeReader, file: string, node: YamlMap, index: number): Omit<Entry, 'ordinal'> | undefined {
  const members = readKeys(node, ENTRY_KEYS, 'an entry', reader.findings);
  const patterns: readonly Located<string>[] = reader.names(members.get('match'), '"match"').map(({ name, at }) => ({ value: name, at }));
  if (patterns.length === 0) {
    reader.findings.error('SCHEMA-6', node.at, 'an entry needs "match"');
    return undefined;
  }
  return {
    ...readLayer(reader, file, node, members),
    id: `${file}#${index}`,
    index,
    patterns,
    environmentOverrides: reader.environmentVars(members.get('environment_overrides')),
    devices: reader.list(members.get('devices'), '"devices"').map((device) => ({ value: toJson(device), at: device.at })),
  };
}

/** Does the file have one of the three shapes of an entry file? */
export function isEntryFile(root: YamlNode): boolean {
  if (root.kind === 'list') return true;
  if (root.kind !== 'map') return false;
  return [...ENVOYS, 'match', 'hostname'].some((key) => root.entries.has(key));
}

export function loadEntries(reader: NodeReader, file: string, root: YamlNode): readonly Omit<Entry, 'ordinal'>[] {
  let nodes: readonly YamlNode[] = [root];
  if (root.kind === 'list') nodes = root.items;
  else if (root.kind === 'map' && ENVOYS.some((key) => root.entries.has(key))) {
    const members = readKeys(root, { envoys: ['nodes'] }, 'an entry file with "envoys"', reader.findings);
    nodes = reader.list(members.get('envoys'), '"envoys"');
  }
  return nodes.flatMap((node, index) => {
    const map = reader.map(node, 'an entry');
    const entry = map === undefined ? undefined : readEntry(reader, file, map, index);
    return entry === undefined ? [] : [entry];
  });
}

export function loadEnvironments(reader: NodeReader, root: YamlMap): ReadonlyMap<string, EnvironmentBlock> {
  const members = readKeys(root, { env: [] }, 'environments.vgo', reader.findings);
  const blocks = new Map<string, EnvironmentBlock>();
  for (const [name, { keyAt, value }] of reader.map(members.get('env')?.value, '"env"')?.entries ?? []) {
    const map = value.kind === 'scalar' && value.value === null ? undefined : reader.map(value, `environment "${name}"`);
    const keys = { modules: MODULES, exclude_modules: EXCLUDES, vars: [] };
    const block = map === undefined ? new Map<string, KeyedNode>() : readKeys(map, keys, `environment "${name}"`, reader.findings);
    const modules = reader.names(block.get('modules'), '"modules"');
    const excludeModules = reader.names(block.get('exclude_modules'), '"exclude_modules"');
    const excluded = new Set(excludeModules.map((module) => module.name));
    for (const module of modules)
      if (excluded.has(module.name)) reader.findings.error('REF-9', module.at, `module "${module.name}" is both added and excluded here`);
    blocks.set(name, { name, at: keyAt, modules, excludeModules, vars: reader.vars(block.get('vars')?.value, '"vars"') });
  }
  return blocks;
}

const ROLE_KEYS = { name: [], description: [], modules: MODULES, includes: [], vars: [], case: [] } as const;

function readRole(reader: NodeReader, node: YamlMap): Role | undefined {
  const members = readKeys(node, ROLE_KEYS, 'a role', reader.findings);
  const name = reader.text(members.get('name'), '"name"');
  if (name === undefined) {
    reader.findings.error('SCHEMA-6', node.at, 'a role needs a name');
    return undefined;
  }
  const cases: RoleCase[] = [];
  for (const [family, entry] of reader.map(members.get('case')?.value, '"case"')?.entries ?? []) {
    if (!/^[A-Za-z0-9_.-]{1,64}$/.test(family)) reader.findings.error('SCHEMA-10', entry.keyAt, `"${family}" is not an OS family`);
    else cases.push({ family, modules: reader.names(entry, `"case.${family}"`) });
  }
  return {
    name: name.value,
    at: name.at,
    modules: reader.names(members.get('modules'), '"modules"'),
    includes: reader.names(members.get('includes'), '"includes"'),
    vars: reader.vars(members.get('vars')?.value, '"vars"'),
    cases,
  };
}

/** roles.vgo holds a list under `roles:`, a file of roles/ holds one role. */
export function loadRoles(reader: NodeReader, root: YamlMap, single: boolean): readonly Role[] {
  let nodes: readonly YamlNode[] = [root];
  if (!single) nodes = reader.list(readKeys(root, { roles: [] }, 'roles.vgo', reader.findings).get('roles'), '"roles"');
  return nodes.flatMap((node) => {
    const map = reader.map(node, 'a role');
    const role = map === undefined ? undefined : readRole(reader, map);
    return role === undefined ? [] : [role];
  });
}

const WAIVER_KEYS = { framework: [], control: ['controls'], reason: [], approved_by: [], approved_on: [], expires: [], match: [] } as const;

export function loadWaivers(reader: NodeReader, root: YamlMap): readonly Waiver[] {
  const list = readKeys(root, { waivers: [] }, 'waivers.vgo', reader.findings).get('waivers');
  return reader.list(list, '"waivers"').flatMap((node) => {
    const map = reader.map(node, 'a waiver');
    if (map === undefined) return [];
    const members = readKeys(map, WAIVER_KEYS, 'a waiver', reader.findings);
    const text = (key: string) => reader.text(members.get(key), `"${key}"`)?.value;
    for (const key of ['framework', 'control', 'reason', 'approved_by'])
      if (!members.has(key)) reader.findings.error('WAIV-1', map.at, `a waiver needs "${key}"`);
    const framework = canonicalFramework(text('framework') ?? '');
    if (members.has('framework') && framework === undefined)
      reader.findings.error('COMP-1', map.at, `unknown framework "${text('framework')}"`);
    const expires = text('expires');
    if (expires !== undefined && Number.isNaN(Date.parse(`${expires}T00:00:00Z`)))
      reader.findings.error('WAIV-1', map.at, `"expires" is not a day such as 2027-01-31`);
    const controls = readControls(reader, members.get('control'), '"control"').map(({ name }) => name);
    const waiver = { at: map.at, controls, approvedOn: text('approved_on'), expires, match: text('match') };
    return [{ ...waiver, framework: framework ?? '', reason: text('reason') ?? '', approvedBy: text('approved_by') ?? '' }];
  });
}
