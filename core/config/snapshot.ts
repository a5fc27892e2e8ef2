/** A loaded configuration: plain data with positions, ready for matching, compiling and tracing. */
import type { Json } from '../base/json.ts';
import type { SourceLocation } from '../base/problem.ts';
import type { SourceTree } from './source.ts';
import type { Located } from './values.ts';

/** A name in a list, and where it stands. */
export interface Named {
  readonly name: string;
  readonly at: SourceLocation;
}

export type Vars = ReadonlyMap<string, Located<Json>>;

export interface VarsWhenBlock {
  readonly at: SourceLocation;
  readonly when: Located<string> | undefined;
  readonly vars: Vars;
}

/** What an entry and a `common.vgo` have in common. */
export interface Layer {
  readonly file: string;
  readonly at: SourceLocation;
  readonly modules: readonly Named[];
  readonly roles: readonly Named[];
  readonly excludeModules: readonly Named[];
  readonly vars: Vars;
  readonly varsFrom: readonly Named[];
  readonly varsWhen: readonly VarsWhenBlock[];
  readonly environment: Named | undefined;
  readonly observeOnly: Located<boolean> | undefined;
  readonly description: string | undefined;
}

export interface Entry extends Layer {
  /** `file#index` */
  readonly id: string;
  readonly index: number;
  /** position in the total order of the tree, from 0 */
  readonly ordinal: number;
  readonly patterns: readonly Located<string>[];
  readonly environmentOverrides: ReadonlyMap<string, Located<Vars>>;
  readonly devices: readonly Located<Json>[];
}

export interface EnvironmentBlock {
  readonly name: string;
  readonly at: SourceLocation;
  readonly modules: readonly Named[];
  readonly excludeModules: readonly Named[];
  readonly vars: Vars;
}

export interface Waiver {
  readonly at: SourceLocation;
  readonly framework: string;
  readonly controls: readonly string[];
  readonly reason: string;
  readonly approvedBy: string;
  readonly approvedOn: string | undefined;
  readonly expires: string | undefined;
  readonly match: string | undefined;
}

export interface Directory {
  /** '' for the root */
  readonly path: string;
  readonly common: Layer | undefined;
  readonly environments: ReadonlyMap<string, EnvironmentBlock>;
  readonly waivers: readonly Waiver[];
}

export interface RoleCase {
  readonly family: string;
  readonly modules: readonly Named[];
}

export interface Role {
  readonly name: string;
  readonly at: SourceLocation;
  readonly modules: readonly Named[];
  readonly includes: readonly Named[];
  readonly vars: Vars;
  readonly cases: readonly RoleCase[];
}

export type Attributes = Readonly<Record<string, Located<Json>>>;

export interface CaseBranch {
  readonly at: SourceLocation;
  readonly attributes: Attributes;
}

/** A resource as declared, defaults of its module already placed underneath. */
export interface ResourceDeclaration {
  readonly at: SourceLocation;
  readonly name: Located<string>;
  readonly type: string;
  readonly attributes: Attributes;
  readonly when: Located<string> | undefined;
  readonly dependsOn: readonly Named[];
  readonly before: readonly Named[];
  readonly notify: readonly Named[];
  readonly subscribes: readonly Named[];
  readonly foreach: Located<string> | undefined;
  readonly caseOf: Located<string> | undefined;
  readonly branches: ReadonlyMap<string, CaseBranch>;
  readonly timeoutSeconds: number | undefined;
  readonly nice: number | undefined;
  readonly revert: boolean;
}

export interface Module {
  readonly name: string;
  readonly file: string;
  readonly at: SourceLocation;
  readonly description: string | undefined;
  readonly version: string | undefined;
  readonly when: Located<string> | undefined;
  readonly vars: Vars;
  readonly environmentOverrides: ReadonlyMap<string, Located<Vars>>;
  readonly varsWhen: readonly VarsWhenBlock[];
  readonly dependsOn: readonly Named[];
  readonly notify: readonly Named[];
  readonly subscribes: readonly Named[];
  readonly compliance: ReadonlyMap<string, readonly Named[]>;
  readonly resources: readonly ResourceDeclaration[];
}

/** Everything below is plain data: it may cross a thread. */
export interface ConfigSnapshot {
  /** SHA-256 hex over the published files (config.md §11.2) */
  readonly root: string;
  readonly files: SourceTree;
  /** in matching order; `ordinal` is the index */
  readonly entries: readonly Entry[];
  readonly modules: ReadonlyMap<string, Module>;
  readonly roles: ReadonlyMap<string, Role>;
  readonly directories: ReadonlyMap<string, Directory>;
  /** maps of `vars/`, by path */
  readonly varFiles: ReadonlyMap<string, Vars>;
}

/** The directories from the root to the one that holds `file`: `a/b/c.vgo` → '', 'a', 'a/b'. */
export function directoryChain(file: string): readonly string[] {
  const names = file.split('/').slice(0, -1);
  return ['', ...names.map((_, index) => names.slice(0, index + 1).join('/'))];
}
