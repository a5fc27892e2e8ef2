/** Entry → policy body (config.md §13.1), with where everything came from. Depends on the tree and the entry only, never on a host. */
import { canonicalJson, type Json } from '../base/json.ts';
import type { Problem } from '../base/problem.ts';
import { BODY_SCHEMA, type Body, type BodyModule, type BodyResource } from '../policy/body.ts';
import type { StaticData } from './expressions.ts';
import { type FoldedCondition, type FoldedModule, foldEntryVars, foldModule } from './fold-module.ts';
import { type Inheritance, inherit } from './inherit.ts';
import { type Linked, type LinkedModule, linkModules } from './link-modules.ts';
import { type BodyCore, jsonHash, policyHash } from './policy-hash.ts';
import { type PreparedModule, prepareModule } from './prepare.ts';
import { markLeaves, refsIn } from './secrets.ts';
import type { ConfigSnapshot, Entry, VarsWhenBlock } from './snapshot.ts';
import { templateFile } from './template-file.ts';
import { emptyRecord, recordOf } from './values.ts';
import { collectVariables, lookUp, splitVariables, type VarBinding, type Variables } from './variables.ts';

export interface CompiledEntry {
  readonly entry: Entry;
  readonly inheritance: Inheritance;
  readonly variables: Variables;
  readonly linked: Linked;
  readonly conditions: readonly FoldedCondition[];
  /** what the server can put in for variables, by module */
  readonly staticData: ReadonlyMap<string, StaticData>;
  readonly body: BodyCore;
  readonly policyHash: string;
  readonly observeOnly: boolean;
  readonly problems: readonly Problem[];
}

/** What a release adds to a compiled entry. */
export interface BodyStamp {
  readonly release: number;
  readonly version: string;
  readonly secretsEpoch: number;
}

/** Folded modules and module bodies that several entries share. */
interface Shared {
  readonly folded: Map<string, FoldedModule>;
  readonly bodies: Map<string, BodyModule>;
  readonly keys: WeakMap<FoldedModule, string>;
}

const SHARED = new WeakMap<ConfigSnapshot, Shared>();

function sharedOf(config: ConfigSnapshot): Shared {
  let shared = SHARED.get(config);
  if (shared === undefined) {
    shared = { folded: new Map(), bodies: new Map(), keys: new WeakMap() };
    SHARED.set(config, shared);
  }
  return shared;
}

/** Blocks of common.vgo root → leaf, then of the entry. */
export function entryVarsWhen(entry: Entry, inheritance: Inheritance): readonly VarsWhenBlock[] {
  return [...inheritance.directories.flatMap(({ common }) => common?.varsWhen ?? []), ...entry.varsWhen];
}

class Compilation {
  readonly problems: Problem[] = [];
  readonly staticData = new Map<string, StaticData>();
  readonly #config: ConfigSnapshot;
  readonly #shared: Shared;
  readonly #environment: string | undefined;
  readonly #variables: Variables;
  readonly #conditional: Set<string>;
  readonly #secretNames = new Set<string>();

  constructor(config: ConfigSnapshot, inheritance: Inheritance, variables: Variables, blocks: readonly VarsWhenBlock[]) {
    this.#config = config;
    this.#shared = sharedOf(config);
    this.#environment = inheritance.environment?.name;
    this.#variables = variables;
    this.#conditional = new Set(blocks.flatMap((block) => [...block.vars.keys()]));
    for (const block of blocks) this.#noteSecrets(block);
    for (const binding of variables.bindings) if (binding.secret) this.#secretNames.add(binding.name);
    for (const bindings of variables.own.values())
      for (const binding of bindings.values()) if (binding.secret) this.#secretNames.add(binding.name);
  }

  #noteSecrets(block: VarsWhenBlock): void {
    for (const [name, { value, at }] of block.vars) {
      const { refs, faults } = markLeaves(value);
      if (refs.length > 0) this.#secretNames.add(name);
      for (const message of faults) this.problems.push({ rule: 'SEC-2', severity: 'error', message, at });
    }
  }

  /** May a name that holds a secret somewhere hold one here? Only values that can win count. */
  #isSecret(module: string, name: string, conditional: ReadonlySet<string>): boolean {
    if (!this.#secretNames.has(name)) return false;
    return conditional.has(name) || lookUp(this.#variables, module, name)?.secret === true;
  }

  fold(prepared: PreparedModule, families: readonly string[]): FoldedModule {
    const { name } = prepared.module;
    const conditional = new Set(this.#conditional);
    for (const { block } of prepared.varsWhen) {
      this.#noteSecrets(block);
      for (const key of block.vars.keys()) conditional.add(key);
    }
    const isSecret = (key: string) => this.#isSecret(name, key, conditional);
    const value = (key: string) => lookUp(this.#variables, name, key);
    const data: StaticData = {
      variable: (each) => (conditional.has(each) ? undefined : value(each)?.value),
      isKnown: (each) => !conditional.has(each) && !isSecret(each),
      element: undefined,
    };
    this.staticData.set(name, data);
    const key = prepared.hasLateSource ? undefined : this.#foldKey(prepared, families, value, isSecret, conditional);
    const known = key === undefined ? undefined : this.#shared.folded.get(key);
    if (known !== undefined) return known;
    const folded = foldModule(prepared, {
      config: this.#config,
      environment: this.#environment,
      families,
      data,
      isProvided: (each) => conditional.has(each) || value(each) !== undefined,
      isSecret,
      anySecret: this.#secretNames.size > 0,
    });
    if (key !== undefined) {
      this.#shared.folded.set(key, folded);
      this.#shared.keys.set(folded, key);
    }
    return folded;
  }

  /** Two entries for which this text is equal get the same folded module. */
  #foldKey(
    prepared: PreparedModule,
    families: readonly string[],
    value: (name: string) => VarBinding | undefined,
    isSecret: (name: string) => boolean,
    conditional: ReadonlySet<string>,
  ): string {
    const flags = prepared.readNames.map(
      (name) => (value(name) === undefined ? 0 : 1) + (isSecret(name) ? 2 : 0) + (conditional.has(name) ? 4 : 0),
    );
    const deciding = prepared.decidingNames.map((name) => value(name)?.value ?? null);
    return JSON.stringify([prepared.module.name, this.#environment ?? null, families, this.#secretNames.size > 0, flags, deciding]);
  }

  module(linked: LinkedModule, vars: ReadonlyMap<string, VarBinding>): BodyModule {
    const { folded } = linked;
    const { module } = folded.prepared;
    const foldKey = this.#shared.keys.get(folded);
    const own = recordOf([...vars].map(([name, binding]) => [name, binding.value] as const));
    const key =
      foldKey === undefined
        ? undefined
        : JSON.stringify([
            foldKey,
            own,
            linked.notify,
            linked.subscribes,
            linked.resources.map(({ dependsOn, notify }) => [dependsOn, notify]),
          ]);
    const known = key === undefined ? undefined : this.#shared.bodies.get(key);
    if (known !== undefined) return known;
    const compliance = recordOf(
      [...module.compliance].map(([framework, controls]) => [framework, controls.map(({ name }) => name)] as const),
    );
    const body: Omit<BodyModule, 'hash'> = {
      name: module.name,
      origin: `${module.at.file}:${module.at.line}`,
      ...(folded.cond === undefined ? {} : { when: folded.cond }),
      vars: own,
      vars_when: folded.varsWhen,
      compliance,
      notify: linked.notify,
      subscribes: linked.subscribes,
      resources: linked.resources.map(bodyResource),
    };
    const finished: BodyModule = { ...body, hash: jsonHash(body) };
    if (key !== undefined) this.#shared.bodies.set(key, finished);
    return finished;
  }
}

function bodyResource({ instance, dependsOn, notify }: LinkedModule['resources'][number]): BodyResource {
  const { declaration } = instance;
  return {
    name: instance.name,
    type: declaration.type,
    attrs: instance.attributes,
    ...(instance.cond === undefined ? {} : { when: instance.cond }),
    trigger_only: instance.triggerOnly,
    sensitive: instance.sensitive,
    depends_on: dependsOn,
    notify,
    ...(instance.caseOf === undefined ? {} : { case: { expr: instance.caseOf, match: instance.branches ?? {} } }),
    ...(declaration.timeoutSeconds === undefined ? {} : { timeout_s: declaration.timeoutSeconds }),
    ...(declaration.nice === undefined ? {} : { nice: declaration.nice }),
    ...(instance.group === undefined ? {} : { group: instance.group, item: instance.item ?? null, index: instance.index ?? 0 }),
    ...(declaration.revert ? { revert: true } : {}),
  };
}

/** Compiles one entry; problems of its modules, references and variables come along. `environment` replaces the declared one. */
export function compileEntry(config: ConfigSnapshot, entry: Entry, environment?: string): CompiledEntry {
  const inheritance = inherit(config, entry, environment);
  const blocks = entryVarsWhen(entry, inheritance);
  const modules = inheritance.modules.map(({ module }) => module);
  const variables = collectVariables(config, entry, inheritance, modules);
  const compilation = new Compilation(config, inheritance, variables, blocks);
  const prepared = modules.map((module) => prepareModule(config, module));
  const folded = prepared.map((each, index) => compilation.fold(each, inheritance.modules[index]!.families));
  const linked = linkModules(config, folded);
  const entryVars = foldEntryVars(config, blocks, inheritance.environment?.name, variables);
  const split = splitVariables(variables);
  const bodyModules = linked.modules.map((each) => compilation.module(each, split.own.get(each.folded.prepared.module.name) ?? new Map()));
  const templates = emptyRecord<string>();
  for (const { folded: each } of linked.modules)
    for (const path of each.templates) templates[path] = templateFile(config, path)?.text ?? '';
  const devices = entry.devices.map(({ value }) => markLeaves(value).value);
  const vars = recordOf([...split.common].map(([name, binding]) => [name, binding.value] as const));
  const core: Omit<BodyCore, 'secret_refs'> = {
    schema: BODY_SCHEMA,
    match: entry.patterns.map(({ value }) => value).join(','),
    entry: entry.id,
    environment: inheritance.environment?.name ?? null,
    roles: [...new Set(inheritance.roles.map(({ role }) => role.name))],
    module_count: bodyModules.length,
    resource_count: bodyModules.reduce((sum, module) => sum + module.resources.length, 0),
    vars,
    vars_when: entryVars.blocks,
    modules: bodyModules,
    templates,
    devices,
  };
  const refs = new Set<string>();
  for (const part of [core.vars, core.vars_when, core.templates, core.devices])
    for (const ref of refsIn(part as unknown as Json)) refs.add(ref);
  for (const module of bodyModules) for (const ref of moduleRefs(module)) refs.add(ref);
  const body: BodyCore = { ...core, secret_refs: [...refs].sort() };
  const problems = [
    ...inheritance.problems,
    ...variables.problems,
    ...compilation.problems,
    ...prepared.flatMap((each) => each.problems),
    ...folded.flatMap((each) => each.problems),
    ...linked.problems,
    ...entryVars.problems,
    ...limitProblems(entry, body),
  ];
  return {
    entry,
    inheritance,
    variables,
    linked,
    staticData: compilation.staticData,
    conditions: [...entryVars.conditions, ...folded.flatMap((each) => each.conditions)],
    body,
    policyHash: policyHash(body),
    observeOnly: inheritance.observeOnly,
    problems: problems.map((problem) => ({ ...problem, entry: entry.id })),
  };
}

const MODULE_REFS = new WeakMap<BodyModule, readonly string[]>();

function moduleRefs(module: BodyModule): readonly string[] {
  let refs = MODULE_REFS.get(module);
  if (refs === undefined) {
    refs = [...new Set(refsIn(module as unknown as Json))];
    MODULE_REFS.set(module, refs);
  }
  return refs;
}

function limitProblems(entry: Entry, body: BodyCore): readonly Problem[] {
  const problems: Problem[] = [];
  const over = (what: string, limit: number) =>
    problems.push({ rule: 'LIMIT-1', severity: 'error', message: `more than ${limit} ${what}`, at: entry.at });
  if (body.resource_count > 10_000) over('resources on one entry', 10_000);
  if (body.secret_refs.length > 1_000) over('secret references on one entry', 1_000);
  let edges = 0;
  for (const module of body.modules) {
    if (module.resources.length > 2_000) over(`resources in module "${module.name}"`, 2_000);
    for (const resource of module.resources) edges += resource.depends_on.length + resource.notify.length;
  }
  if (edges > 50_000) over('edges on one entry', 50_000);
  return problems;
}

/** The body of a release. */
export function finishBody(compiled: CompiledEntry, stamp: BodyStamp): Body {
  return { ...compiled.body, release: stamp.release, version: stamp.version, secrets_epoch: stamp.secretsEpoch };
}

const MODULE_TEXTS = new WeakMap<BodyModule, string>();

/** The canonical bytes of {@link finishBody}; texts of modules that entries share are written once. */
export function bodyBytes(compiled: CompiledEntry, stamp: BodyStamp): Buffer {
  const modules = compiled.body.modules.map((module) => {
    let text = MODULE_TEXTS.get(module);
    if (text === undefined) {
      text = canonicalJson(module);
      MODULE_TEXTS.set(module, text);
    }
    return text;
  });
  const body: Record<string, unknown> = { ...finishBody(compiled, stamp) };
  const members = Object.keys(body)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${key === 'modules' ? `[${modules.join(',')}]` : canonicalJson(body[key])}`);
  return Buffer.from(`{${members.join(',')}}`, 'utf8');
}
