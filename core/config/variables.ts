/** Variables of an entry: nine layers, the last writer of a name wins (config.md §4.1). */
import type { Json } from '../base/json.ts';
import type { Problem, SourceLocation } from '../base/problem.ts';
import type { Inheritance } from './inherit.ts';
import { varsFile } from './load.ts';
import { markLeaves } from './secrets.ts';
import type { ConfigSnapshot, Entry, Layer, Module, Vars } from './snapshot.ts';
import type { Located } from './values.ts';

/** A value at a layer; null removes the name from all lower layers. */
export interface VarBinding {
  readonly name: string;
  readonly layer: number;
  readonly value: Json;
  readonly at: SourceLocation;
  readonly secret: boolean;
  /** layers 0 to 2: the module it belongs to */
  readonly module: string | undefined;
}

export interface Variables {
  /** layers 3 to 8, low to high, every writer in order */
  readonly bindings: readonly VarBinding[];
  /** what layers 3 to 8 come to; null = removed */
  readonly shared: ReadonlyMap<string, VarBinding>;
  /** layer 0: the first module's value of each name */
  readonly defaults: ReadonlyMap<string, VarBinding>;
  readonly own: ReadonlyMap<string, ReadonlyMap<string, VarBinding>>;
  readonly problems: readonly Problem[];
}

const MARKED = new WeakMap<Located<Json>, { value: Json; secret: boolean; problems: readonly Problem[] }>();

/** A variable with its references as markers; computed once per declaration. */
function mark(located: Located<Json>, name: string): { value: Json; secret: boolean; problems: readonly Problem[] } {
  let marked = MARKED.get(located);
  if (marked === undefined) {
    const { value, refs, faults } = markLeaves(located.value);
    const problems: Problem[] = faults.map((message) => ({ rule: 'SEC-2', severity: 'error', message, at: located.at }));
    if (sizeOf(value) > 256 * 1024)
      problems.push({ rule: 'LIMIT-1', severity: 'error', message: `variable "${name}" is larger than 256 KiB`, at: located.at });
    marked = { value, secret: refs.length > 0, problems };
    MARKED.set(located, marked);
  }
  return marked;
}

/** Cheap upper figure: only long values are written out. */
function sizeOf(value: Json): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  return typeof value === 'object' && value !== null ? Buffer.byteLength(JSON.stringify(value)) : 8;
}

class Collector {
  readonly problems: Problem[] = [];
  readonly #config: ConfigSnapshot;

  constructor(config: ConfigSnapshot) {
    this.#config = config;
  }

  bind(vars: Vars, layer: number, module?: string): VarBinding[] {
    return [...vars].map(([name, located]) => {
      const { value, secret, problems } = mark(located, name);
      this.problems.push(...problems);
      return { name, layer, value, at: located.at, secret, module };
    });
  }

  files(source: Layer, layer: number): VarBinding[] {
    return source.varsFrom.flatMap(({ name, at }) => {
      const vars = varsFile(this.#config, name);
      if (vars !== undefined) return this.bind(vars, layer);
      this.problems.push({ rule: 'REF-11', severity: 'error', message: `there is no file "${name}" in vars/`, at });
      return [];
    });
  }

  /** Layers 1 and 2 of a module. */
  own(module: Module, environment: string | undefined): ReadonlyMap<string, VarBinding> {
    const override = environment === undefined ? undefined : module.environmentOverrides.get(environment)?.value;
    const bindings = [...this.bind(module.vars, 1, module.name), ...(override === undefined ? [] : this.bind(override, 2, module.name))];
    return new Map(bindings.map((binding) => [binding.name, binding]));
  }
}

/** All layers that the server knows (0 to 8). `modules` is in execution order. */
export function collectVariables(config: ConfigSnapshot, entry: Entry, inheritance: Inheritance, modules: readonly Module[]): Variables {
  const collector = new Collector(config);
  const environment = inheritance.environment?.name;
  const bindings: VarBinding[] = [];
  for (const { role } of inheritance.roles) bindings.push(...collector.bind(role.vars, 3));
  for (const { common } of inheritance.directories)
    if (common !== undefined) bindings.push(...collector.files(common, 4), ...collector.bind(common.vars, 4));
  bindings.push(...collector.files(entry, 5), ...collector.bind(entry.vars, 6));
  for (const { environments } of inheritance.directories) {
    const block = environment === undefined ? undefined : environments.get(environment);
    if (block !== undefined) bindings.push(...collector.bind(block.vars, 7));
  }
  const override = environment === undefined ? undefined : entry.environmentOverrides.get(environment)?.value;
  if (override !== undefined) bindings.push(...collector.bind(override, 8));
  const shared = new Map(bindings.map((binding) => [binding.name, binding]));
  const own = new Map(modules.map((module) => [module.name, collector.own(module, environment)]));
  const defaults = new Map<string, VarBinding>();
  for (const module of modules)
    for (const binding of own.get(module.name)!.values())
      if (binding.value !== null && !defaults.has(binding.name)) defaults.set(binding.name, { ...binding, layer: 0 });
  const names = new Set([...shared.keys(), ...defaults.keys()]);
  if (names.size > 5_000)
    collector.problems.push({ rule: 'LIMIT-1', severity: 'error', message: 'more than 5,000 variables on one entry', at: entry.at });
  return { bindings, shared, defaults, own, problems: collector.problems };
}

/** The value a module sees; undefined when no layer provides the name or the last writer removed it. */
export function lookUp(variables: Variables, module: string | undefined, name: string): VarBinding | undefined {
  const binding =
    variables.shared.get(name) ?? (module === undefined ? undefined : variables.own.get(module)?.get(name)) ?? variables.defaults.get(name);
  return binding === undefined || binding.value === null ? undefined : binding;
}

/**
 * How the layers travel: `common` for all modules, `own` for what differs in one. `{...common, ...own}` is what a module sees.
 * A name that one module removes (null) cannot be common; the other modules carry it themselves.
 */
export function splitVariables(variables: Variables): {
  common: ReadonlyMap<string, VarBinding>;
  own: ReadonlyMap<string, ReadonlyMap<string, VarBinding>>;
} {
  const removed = new Set<string>();
  for (const bindings of variables.own.values())
    for (const binding of bindings.values()) if (binding.value === null) removed.add(binding.name);
  const common = new Map<string, VarBinding>();
  for (const [name, binding] of variables.defaults) if (!removed.has(name) && !variables.shared.has(name)) common.set(name, binding);
  for (const [name, binding] of variables.shared) if (binding.value !== null) common.set(name, binding);
  const own = new Map<string, ReadonlyMap<string, VarBinding>>();
  for (const [module, bindings] of variables.own) {
    const mine = new Map<string, VarBinding>();
    for (const [name, binding] of bindings)
      if (binding.value !== null && !variables.shared.has(name) && common.get(name)?.value !== binding.value) mine.set(name, binding);
    for (const name of removed) {
      const seen = lookUp(variables, module, name);
      if (seen !== undefined && !common.has(name) && bindings.get(name)?.value !== null) mine.set(name, seen);
    }
    own.set(module, mine);
  }
  return { common, own };
}
