/** Source tree → configuration: finds out what each file is, loads all of them and reports everything found (config.md §1). */
import type { Problem } from '../base/problem.ts';
import { isEntryFile, loadCommon, loadEntries, loadEnvironments, loadRoles, loadWaivers } from './load-inventory.ts';
import { loadModule } from './load-module.ts';
import { rootOfTree } from './manifest.ts';
import { parseYaml, type YamlMap, type YamlNode } from './parse.ts';
import { Findings, NodeReader } from './read-node.ts';
import type { ConfigSnapshot, Directory, Entry, EnvironmentBlock, Layer, Module, Role, Vars, Waiver } from './snapshot.ts';
import {
  compareBytes,
  FLOW_DIRECTORIES,
  LIBRARY_DIRECTORIES,
  limitProblem,
  RESERVED_DIRECTORIES,
  type SourceFile,
  type SourceTree,
  TREE_LIMITS,
} from './source.ts';

export interface LoadedTree {
  readonly config: ConfigSnapshot;
  readonly problems: readonly Problem[];
}

const SPELLINGS: Readonly<Record<string, 'common' | 'environments' | 'waivers'>> = {
  'common.vgo': 'common',
  'environments.vgo': 'environments',
  'per_env_overrides.vgo': 'environments',
  'waivers.vgo': 'waivers',
  'compliance.vgo': 'waivers',
};

interface Draft {
  common: Layer | undefined;
  environments: ReadonlyMap<string, EnvironmentBlock>;
  waivers: readonly Waiver[];
  readonly spelled: Map<string, string>;
}

class Loader {
  readonly findings = new Findings();
  readonly #reader = new NodeReader(this.findings);
  readonly #directories = new Map<string, Draft>();
  readonly #entries: Omit<Entry, 'ordinal'>[] = [];
  readonly #modules = new Map<string, Module>();
  readonly #roles = new Map<string, Role>();
  readonly #varFiles = new Map<string, Vars>();

  load(tree: SourceTree): ConfigSnapshot {
    this.#checkTree(tree);
    for (const path of [...tree.keys()].sort(compareBytes)) this.#file(tree.get(path)!);
    const directories = new Map<string, Directory>();
    for (const [path, { common, environments, waivers }] of this.#directories)
      directories.set(path, { path, common, environments, waivers });
    const entries = this.#entries.sort((a, b) => compareFiles(a.file, b.file) || a.index - b.index);
    if (entries.length > 50_000) this.findings.problems.push(limitProblem('more than 50,000 entries'));
    if (this.#modules.size > 10_000) this.findings.problems.push(limitProblem('more than 10,000 modules'));
    if (this.#roles.size > 5_000) this.findings.problems.push(limitProblem('more than 5,000 roles'));
    return {
      root: rootOfTree(tree),
      files: tree,
      entries: entries.map((entry, ordinal) => ({ ...entry, ordinal })),
      modules: this.#modules,
      roles: this.#roles,
      directories,
      varFiles: this.#varFiles,
    };
  }

  #checkTree(tree: SourceTree): void {
    const folded = new Map<string, string>();
    const libraries = new Map<string, string>();
    for (const path of tree.keys()) {
      const key = path.toLowerCase();
      const other = folded.get(key);
      if (other !== undefined) this.#at(path, 'TREE-6', `"${path}" and "${other}" differ only in case`);
      folded.set(key, path);
      const top = path.split('/', 1)[0]!;
      if ((LIBRARY_DIRECTORIES as readonly string[]).includes(top) && path.includes('/') && !libraries.has(top)) libraries.set(top, path);
    }
    const [, second] = libraries;
    if (second !== undefined)
      this.#at(second[1], 'TREE-1', `"${[...libraries.keys()].join('" and "')}" are two names of one directory; keep one`);
  }

  #at(file: string, rule: string, message: string): void {
    this.findings.error(rule, { file, line: 1, column: 1 }, message);
  }

  #file(file: SourceFile): void {
    const { path } = file;
    const names = path.split('/');
    const top = names.length > 1 ? names[0]! : '';
    if (top === 'templates') return;
    if (file.bytes.byteLength > TREE_LIMITS.vgoBytes) {
      this.findings.problems.push(limitProblem(`"${path}" is larger than 1 MiB`, path));
      return;
    }
    const parsed = parseYaml(path, file.bytes);
    this.findings.problems.push(...parsed.problems);
    const broken = parsed.root === undefined && !parsed.empty;
    const root: YamlNode = parsed.root ?? { kind: 'map', at: { file: path, line: 1, column: 1 }, entries: new Map() };
    const base = names.at(-1)!;
    const special = SPELLINGS[base];
    if ((FLOW_DIRECTORIES as readonly string[]).includes(top)) return;
    if (RESERVED_DIRECTORIES.includes(top)) {
      if (special !== undefined && top !== 'vars') this.#at(path, 'TREE-3', `"${base}" has no place below "${top}/"`);
      else if (!broken) this.#reserved(top, path, root, parsed.empty);
    } else if (special !== undefined) {
      this.#special(special, path, base, broken ? undefined : root);
    } else if (path === 'roles.vgo') {
      if (!broken && !parsed.empty) this.#addRoles(root, false);
    } else if (parsed.empty) {
      this.findings.warning('TREE-5', root.at, 'the entry file is empty');
    } else if (!broken && isEntryFile(root)) {
      this.#entries.push(...loadEntries(this.#reader, path, root));
    } else if (!broken) {
      this.#at(path, 'TREE-3', 'not an entry file: it has no "match", "envoys" or list of entries');
    }
  }

  #reserved(top: string, path: string, root: YamlNode, empty: boolean): void {
    if (top === 'roles') {
      if (!empty) this.#addRoles(root, true);
      return;
    }
    if (top === 'vars') {
      this.#varFiles.set(path, this.#reader.vars(root, 'a file of vars/'));
      return;
    }
    const map = this.#reader.map(root, 'a module file');
    const module = map === undefined ? undefined : loadModule(this.#reader, path, map);
    if (module === undefined) return;
    const other = this.#modules.get(module.name);
    if (other === undefined) this.#modules.set(module.name, module);
    else this.findings.error('REF-3', module.at, `module "${module.name}" exists already in ${other.file}:${other.at.line}`);
  }

  #addRoles(root: YamlNode, single: boolean): void {
    const map = this.#reader.map(root, 'a roles file');
    for (const role of map === undefined ? [] : loadRoles(this.#reader, map, single)) {
      const other = this.#roles.get(role.name);
      if (other === undefined) this.#roles.set(role.name, role);
      else this.findings.error('REF-4', role.at, `role "${role.name}" exists already in ${other.at.file}:${other.at.line}`);
    }
  }

  #special(kind: 'common' | 'environments' | 'waivers', path: string, base: string, root: YamlNode | undefined): void {
    const directory = path.slice(0, Math.max(0, path.length - base.length - 1));
    let draft = this.#directories.get(directory);
    if (draft === undefined) {
      draft = { common: undefined, environments: new Map(), waivers: [], spelled: new Map() };
      this.#directories.set(directory, draft);
    }
    const other = draft.spelled.get(kind);
    if (other !== undefined) {
      this.#at(path, 'TREE-2', `"${base}" and "${other}" are two names of one file; keep one`);
      return;
    }
    draft.spelled.set(kind, base);
    const map: YamlMap | undefined = this.#reader.map(root, base);
    if (map === undefined) return;
    if (kind === 'common') draft.common = loadCommon(this.#reader, path, map);
    else if (kind === 'environments') draft.environments = loadEnvironments(this.#reader, map);
    else draft.waivers = loadWaivers(this.#reader, map);
  }
}

/** Depth first: in each directory its sub-directories in byte order come before its own files in byte order (config.md §2.3). */
function compareFiles(a: string, b: string): number {
  const left = a.split('/');
  const right = b.split('/');
  for (let i = 0; ; i++) {
    const leftIsFile = i === left.length - 1;
    const rightIsFile = i === right.length - 1;
    if (leftIsFile !== rightIsFile) return leftIsFile ? 1 : -1;
    const order = compareBytes(left[i]!, right[i]!);
    if (order !== 0 || leftIsFile) return order;
  }
}

/** Loads a whole tree; never throws and never stops at the first finding. */
export function loadTree(tree: SourceTree): LoadedTree {
  const loader = new Loader();
  const config = loader.load(tree);
  return { config, problems: loader.findings.problems };
}

/** The variables of a `vars_from:` path, which is relative to the tree root and below `vars/`. */
export function varsFile(config: ConfigSnapshot, path: string): Vars | undefined {
  return config.varFiles.get(path.startsWith('vars/') ? path : `vars/${path}`);
}
