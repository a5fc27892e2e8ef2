/** Which modules, roles and environment an entry gets, and from where (config.md §3). */
import type { Problem, SourceLocation } from '../base/problem.ts';
import { type ConfigSnapshot, type Directory, directoryChain, type Entry, type Module, type Named, type Role } from './snapshot.ts';

export type Via = 'common' | 'role' | 'env' | 'entry';

export interface ModuleOrigin {
  readonly name: string;
  readonly via: Via;
  readonly role: string | undefined;
  /** OS family of a role's `case` */
  readonly family: string | undefined;
  readonly at: SourceLocation;
}

export interface IncludedModule {
  readonly module: Module;
  readonly origin: ModuleOrigin;
  /** empty: on every OS family; else on these */
  readonly families: readonly string[];
}

export interface Exclusion {
  readonly origin: ModuleOrigin;
  readonly excludedBy: SourceLocation;
}

export interface AppliedRole {
  readonly role: Role;
  readonly via: 'common' | 'entry';
  readonly at: SourceLocation;
  /** the role whose `includes` brought it */
  readonly includedBy: string | undefined;
}

export interface Inheritance {
  readonly directories: readonly Directory[];
  readonly environment: Named | undefined;
  /** expansion order: an included role stands before the one that includes it */
  readonly roles: readonly AppliedRole[];
  /** the order of §3.4, not yet sorted by dependencies */
  readonly modules: readonly IncludedModule[];
  readonly exclusions: readonly Exclusion[];
  /** every addition in order, also those that were there already */
  readonly additions: readonly ModuleOrigin[];
  readonly observeOnly: boolean;
  readonly problems: readonly Problem[];
}

interface Slot {
  readonly origin: ModuleOrigin;
  unconditional: boolean;
  readonly families: Set<string>;
}

class Walk {
  readonly problems: Problem[] = [];
  readonly roles: AppliedRole[] = [];
  readonly exclusions: Exclusion[] = [];
  readonly additions: ModuleOrigin[] = [];
  readonly slots = new Map<string, Slot>();
  readonly #config: ConfigSnapshot;
  readonly #entry: string;

  constructor(config: ConfigSnapshot, entry: string) {
    this.#config = config;
    this.#entry = entry;
  }

  report(rule: string, severity: 'error' | 'warning', at: SourceLocation, message: string): void {
    this.problems.push({ rule, severity, message, at, entry: this.#entry });
  }

  add(names: readonly Named[], via: Via, role?: string, family?: string): void {
    for (const { name, at } of names) {
      if (!this.#config.modules.has(name)) {
        this.report('REF-1', 'error', at, `there is no module "${name}"`);
        continue;
      }
      const origin: ModuleOrigin = { name, via, role, family, at };
      this.additions.push(origin);
      let slot = this.slots.get(name);
      if (slot === undefined) {
        slot = { origin, unconditional: false, families: new Set() };
        this.slots.set(name, slot);
      }
      if (family === undefined) slot.unconditional = true;
      else slot.families.add(family.toLowerCase());
    }
  }

  remove(names: readonly Named[]): void {
    for (const { name, at } of names) {
      const slot = this.slots.get(name);
      if (slot === undefined) {
        this.report('REF-8', 'warning', at, `module "${name}" is excluded but not there`);
        continue;
      }
      this.exclusions.push({ origin: slot.origin, excludedBy: at });
      this.slots.delete(name);
    }
  }

  expand(names: readonly Named[], via: 'common' | 'entry'): void {
    for (const { name, at } of names) {
      const role = this.#config.roles.get(name);
      if (role === undefined) {
        this.report('REF-1', 'error', at, `there is no role "${name}"`);
        continue;
      }
      for (const include of role.includes) {
        const included = this.#config.roles.get(include.name);
        if (included === undefined) this.report('REF-1', 'error', include.at, `there is no role "${include.name}"`);
        else if (included.includes.length > 0)
          this.report('REF-5', 'error', include.at, `role "${include.name}" has includes of its own; includes go one level deep`);
        else this.#apply(included, via, at, role.name);
      }
      this.#apply(role, via, at, undefined);
    }
  }

  #apply(role: Role, via: 'common' | 'entry', at: SourceLocation, includedBy: string | undefined): void {
    this.roles.push({ role, via, at, includedBy });
    this.add(role.modules, 'role', role.name);
    for (const { family, modules } of role.cases) this.add(modules, 'role', role.name, family);
  }
}

const NO_DIRECTORY = { common: undefined, environments: new Map(), waivers: [] } as const;
const ENVIRONMENTS = new WeakMap<ConfigSnapshot, ReadonlySet<string>>();

/** Every environment that any file of the tree speaks of. */
export function definedEnvironments(config: ConfigSnapshot): ReadonlySet<string> {
  let names = ENVIRONMENTS.get(config);
  if (names === undefined) {
    names = new Set([
      ...[...config.directories.values()].flatMap((directory) => [...directory.environments.keys()]),
      ...config.entries.flatMap((entry) => [...entry.environmentOverrides.keys()]),
      ...[...config.modules.values()].flatMap((module) => [...module.environmentOverrides.keys()]),
    ]);
    ENVIRONMENTS.set(config, names);
  }
  return names;
}

function environmentOf(entry: Entry, directories: readonly Directory[], instead: string | undefined): Named | undefined {
  if (instead !== undefined) return { name: instead, at: entry.at };
  return entry.environment ?? directories.findLast((directory) => directory.common?.environment !== undefined)?.common?.environment;
}

/** Walks root → leaf and then the entry (config.md §3.4); `environment` replaces the declared one, for questions of the kind "what if". */
export function inherit(config: ConfigSnapshot, entry: Entry, environment?: string): Inheritance {
  const directories = directoryChain(entry.file).map((path) => config.directories.get(path) ?? { path, ...NO_DIRECTORY });
  const chosen = environmentOf(entry, directories, environment);
  const walk = new Walk(config, entry.id);
  for (const { common, environments } of directories) {
    if (common !== undefined) {
      walk.expand(common.roles, 'common');
      walk.add(common.modules, 'common');
      walk.remove(common.excludeModules);
    }
    const block = chosen === undefined ? undefined : environments.get(chosen.name);
    if (block !== undefined) {
      walk.remove(block.excludeModules);
      walk.add(block.modules, 'env');
    }
  }
  walk.expand(entry.roles, 'entry');
  walk.add(entry.modules, 'entry');
  walk.remove(entry.excludeModules);
  if (chosen !== undefined && !definedEnvironments(config).has(chosen.name))
    walk.report('REF-7', 'warning', chosen.at, `environment "${chosen.name}" is defined nowhere`);
  const modules = [...walk.slots].map(([name, slot]) => ({
    module: config.modules.get(name)!,
    origin: slot.origin,
    families: slot.unconditional ? [] : [...slot.families],
  }));
  if (modules.length > 500) walk.report('LIMIT-1', 'error', entry.at, 'more than 500 modules on one entry');
  for (const { module } of modules)
    for (const need of module.dependsOn)
      if (!walk.slots.has(need.name))
        walk.report(
          config.modules.has(need.name) ? 'REF-6' : 'REF-1',
          'error',
          need.at,
          config.modules.has(need.name)
            ? `module "${module.name}" depends on "${need.name}", which entry ${entry.id} does not have`
            : `there is no module "${need.name}"`,
        );
  return {
    directories,
    environment: chosen,
    roles: walk.roles,
    modules,
    exclusions: walk.exclusions,
    additions: walk.additions,
    observeOnly: directories.some((directory) => directory.common?.observeOnly?.value === true) || entry.observeOnly?.value === true,
    problems: walk.problems,
  };
}
