/** Why a host has the policy it has: seven sections of facts, each with its place in the tree (config.md §19.1). */
import { compileGlob } from '../base/glob.ts';
import type { Json } from '../base/json.ts';
import type { SourceLocation } from '../base/problem.ts';
import type { Ref } from '../policy/body.ts';
import type { Ast } from '../when/ast.ts';
import { type CompiledEntry, compileEntry, entryVarsWhen } from './compile.ts';
import { entryFor, matchingPattern, patternProblem } from './match.ts';
import { showReferences } from './secrets.ts';
import type { ConfigSnapshot, Entry } from './snapshot.ts';
import type { VarBinding } from './variables.ts';

interface Place {
  readonly file: string;
  readonly line: number;
}

export interface PathRow extends Place {
  readonly dir: string;
  readonly kind: 'common' | 'environments' | 'waivers' | 'vars' | 'entry';
  readonly pattern?: string;
  readonly ordinal?: number;
}
export interface ModuleRow extends Place {
  readonly name: string;
  readonly via: 'common' | 'role' | 'env' | 'entry';
  readonly role?: string;
  readonly excluded_by?: string;
  /** place in execution order from 1; null for excluded or left-out modules */
  readonly order: number | null;
  readonly when?: string;
}
export interface VariableRow extends Place {
  readonly name: string;
  readonly layer: number;
  readonly value: Json;
  /** `file:line` of the value it shadows */
  readonly overrides?: string;
  readonly final: boolean;
  readonly module?: string;
}
export interface DependencyRow extends Place {
  readonly from: string;
  readonly to: string;
  readonly kind: 'depends_on' | 'before' | 'notify' | 'subscribes';
}
export interface OrderRow {
  readonly module: string;
  readonly resource: string;
  readonly after: readonly string[];
  readonly notify: readonly string[];
  readonly trigger_only: boolean;
  readonly file: string;
  readonly line: number;
}
export interface ConditionRow extends Place {
  readonly target: string;
  readonly side: 'server' | 'agent' | 'split';
  readonly source: string;
  readonly resolved: string;
  readonly predicted?: boolean;
}
export interface ComplianceRow extends Place {
  readonly framework: string;
  readonly control: string;
  readonly title: string;
  readonly module: string;
  readonly status: 'covered' | 'waived' | 'at_risk' | 'open';
}
export interface WaiverRow extends Place {
  readonly framework: string;
  readonly control: string;
  readonly approved_by: string;
  readonly reason: string;
  readonly expires?: string;
  readonly match?: string;
  readonly effective: boolean;
}

export interface TraceSections {
  readonly path: readonly PathRow[];
  readonly modules: readonly ModuleRow[];
  readonly variables: readonly VariableRow[];
  readonly dependencies: readonly DependencyRow[];
  readonly order: readonly OrderRow[];
  readonly conditions: readonly ConditionRow[];
  readonly compliance: readonly ComplianceRow[];
  readonly waivers: readonly WaiverRow[];
}

export interface HostTrace extends TraceSections {
  readonly host: string;
  readonly environment: string | null;
  /** patterns of the entry; null when none matches */
  readonly match: string | null;
  readonly entry: string | null;
}

export interface TraceQuery {
  /** as if the host were in this environment */
  readonly environment?: string | undefined;
  /** `module/name`: only what concerns this resource */
  readonly resource?: string | undefined;
  /** day for expired waivers, YYYY-MM-DD */
  readonly today?: string | undefined;
  /** evaluates a condition on the last reported traits; undefined = cannot say */
  readonly predict?: ((ast: Ast) => boolean | undefined) | undefined;
}

const EMPTY: TraceSections = {
  path: [],
  modules: [],
  variables: [],
  dependencies: [],
  order: [],
  conditions: [],
  compliance: [],
  waivers: [],
};

function place(at: SourceLocation): Place {
  return { file: at.file, line: at.line };
}

function directoryOf(file: string): string {
  return file.includes('/') ? file.slice(0, file.lastIndexOf('/')) : '';
}

function refText(ref: Ref): string {
  return ref.resource === undefined ? ref.module : `${ref.module}/${ref.resource}`;
}

function pathRows(config: ConfigSnapshot, compiled: CompiledEntry, host: string): PathRow[] {
  const rows: PathRow[] = [];
  const { entry, inheritance } = compiled;
  const files = (owner: Pick<Entry, 'varsFrom'>) => {
    for (const { name, at } of owner.varsFrom) rows.push({ dir: directoryOf(at.file), kind: 'vars', ...place(at), pattern: name });
  };
  for (const { path, common, environments, waivers } of inheritance.directories) {
    if (common !== undefined) {
      rows.push({ dir: path, kind: 'common', ...place(common.at) });
      files(common);
    }
    const block = inheritance.environment === undefined ? undefined : environments.get(inheritance.environment.name);
    if (block !== undefined) rows.push({ dir: path, kind: 'environments', ...place(block.at) });
    if (waivers.length > 0) rows.push({ dir: path, kind: 'waivers', ...place(waivers[0]!.at) });
  }
  files(entry);
  const pattern = matchingPattern(entry, host) ?? entry.patterns[0]!.value;
  rows.push({ dir: directoryOf(entry.file), kind: 'entry', ...place(entry.at), pattern, ordinal: config.entries[entry.ordinal]!.ordinal });
  return rows;
}

function moduleRows({ inheritance, linked }: CompiledEntry): ModuleRow[] {
  const order = new Map(linked.modules.map(({ folded }, index) => [folded.prepared.module.name, index + 1]));
  const rows: ModuleRow[] = inheritance.exclusions.map(({ origin, excludedBy }) => ({
    name: origin.name,
    via: origin.via,
    ...(origin.role === undefined ? {} : { role: origin.role }),
    ...place(origin.at),
    excluded_by: `${excludedBy.file}:${excludedBy.line}`,
    order: null,
  }));
  const included = new Set(inheritance.modules.map(({ module }) => module.name));
  for (const origin of inheritance.additions) {
    if (!included.has(origin.name)) continue;
    const cond = linked.modules.find(({ folded }) => folded.prepared.module.name === origin.name)?.folded.cond;
    const when = origin.family === undefined ? cond?.source : `os_family('${origin.family}')`;
    rows.push({
      name: origin.name,
      via: origin.via,
      ...(origin.role === undefined ? {} : { role: origin.role }),
      ...place(origin.at),
      order: order.get(origin.name) ?? null,
      ...(when === undefined ? {} : { when }),
    });
  }
  return rows.sort((a, b) => (a.order ?? Number.MAX_SAFE_INTEGER) - (b.order ?? Number.MAX_SAFE_INTEGER));
}

function variableRows(compiled: CompiledEntry): VariableRow[] {
  const { variables, inheritance, entry } = compiled;
  const perName = new Map<string, VarBinding[]>();
  const own = inheritance.modules.flatMap(({ module }) => {
    const bindings = variables.own.get(module.name)?.values() ?? [];
    return [...bindings];
  });
  const conditional = [
    ...inheritance.modules.flatMap(({ module }) => module.varsWhen.map((block) => ({ block, module: module.name }))),
    ...entryVarsWhen(entry, inheritance).map((block) => ({ block, module: undefined })),
  ].flatMap(({ block, module }) =>
    [...block.vars].map(([name, { value, at }]): VarBinding => ({ name, layer: 9, value, at, secret: false, module })),
  );
  for (const binding of [...own, ...variables.bindings, ...conditional]) {
    const list = perName.get(binding.name);
    if (list === undefined) perName.set(binding.name, [binding]);
    else list.push(binding);
  }
  const rows: VariableRow[] = [];
  for (const [name, bindings] of [...perName].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const last = bindings.findLast(({ layer }) => layer < 9);
    for (const [index, binding] of bindings.entries()) {
      const before = bindings.slice(0, index).findLast((other) => other.layer > 2 || other.module === binding.module || binding.layer > 2);
      const isFinal = binding === last || (binding.layer <= 2 && !variables.shared.has(name));
      rows.push({
        name,
        layer: binding.layer,
        value: showReferences(binding.value),
        ...place(binding.at),
        ...(before === undefined ? {} : { overrides: `${before.at.file}:${before.at.line}` }),
        final: isFinal && binding.value !== null,
        ...(binding.module === undefined ? {} : { module: binding.module }),
      });
    }
  }
  return rows;
}

function dependencyRows({ linked }: CompiledEntry): { dependencies: DependencyRow[]; order: OrderRow[] } {
  const dependencies = linked.edges.map(({ from, to, kind, at }) => ({ from: refText(from), to: refText(to), kind, ...place(at) }));
  const order = linked.modules.flatMap(({ folded, resources }) =>
    resources.map(({ instance, dependsOn, notify }) => ({
      module: folded.prepared.module.name,
      resource: instance.name,
      after: dependsOn.map(refText),
      notify: notify.map(refText),
      trigger_only: instance.triggerOnly,
      ...place(instance.declaration.at),
    })),
  );
  return { dependencies, order };
}

function conditionRows(compiled: CompiledEntry, predict: TraceQuery['predict']): ConditionRow[] {
  const asts = new Map<string, Ast>();
  for (const { folded } of compiled.linked.modules)
    for (const instance of folded.instances) if (instance.cond !== undefined) asts.set(instance.cond.source, instance.cond.ast);
  return compiled.conditions.map(({ target, at, side, source, resolved }) => {
    const ast = asts.get(source);
    const predicted = ast === undefined || predict === undefined ? undefined : predict(ast);
    return { target, side, source, resolved, ...(predicted === undefined ? {} : { predicted }), ...place(at) };
  });
}

function waiverRows({ inheritance }: CompiledEntry, host: string, today: string | undefined): WaiverRow[] {
  const rows: (WaiverRow & { readonly key: string; readonly applies: boolean })[] = [];
  for (const { waivers } of inheritance.directories)
    for (const waiver of waivers)
      for (const control of waiver.controls) {
        const fits = waiver.match === undefined || (patternProblem(waiver.match) === undefined && compileGlob(waiver.match).matches(host));
        const expired = today !== undefined && waiver.expires !== undefined && waiver.expires <= today;
        rows.push({
          framework: waiver.framework,
          control,
          approved_by: waiver.approvedBy,
          reason: waiver.reason,
          ...(waiver.expires === undefined ? {} : { expires: waiver.expires }),
          ...(waiver.match === undefined ? {} : { match: waiver.match }),
          ...place(waiver.at),
          effective: false,
          key: `${waiver.framework}\0${control.toLowerCase()}`,
          applies: fits && !expired,
        });
      }
  return rows.map(({ key, applies, ...row }, index) => ({
    ...row,
    effective: applies && !rows.slice(index + 1).some((later) => later.key === key && later.applies),
  }));
}

function complianceRows({ inheritance }: CompiledEntry, waivers: readonly WaiverRow[]): ComplianceRow[] {
  const waived = new Set(
    waivers.filter(({ effective }) => effective).map(({ framework, control }) => `${framework}\0${control.toLowerCase()}`),
  );
  return inheritance.modules.flatMap(({ module }) =>
    [...module.compliance].flatMap(([framework, controls]) =>
      controls.map(({ name, at }) => ({
        framework,
        control: name,
        title: '',
        module: module.name,
        // without a counted run a claim is at risk (§17.2); whoever knows the runs fills in the rest
        status: waived.has(`${framework}\0${name.toLowerCase()}`) ? ('waived' as const) : ('at_risk' as const),
        ...place(at),
      })),
    ),
  );
}

function onlyResource(sections: TraceSections, resource: string): TraceSections {
  const concerns = (text: string) => text === resource || text === resource.split('/', 1)[0];
  return {
    ...sections,
    modules: sections.modules.filter(({ name }) => concerns(name)),
    dependencies: sections.dependencies.filter(({ from, to }) => from === resource || to === resource || concerns(from)),
    order: sections.order.filter((row) => `${row.module}/${row.resource}` === resource),
    conditions: sections.conditions.filter(({ target }) => concerns(target)),
  };
}

/** All sections of an entry as seen by a host. */
export function traceEntry(config: ConfigSnapshot, compiled: CompiledEntry, host: string, query: TraceQuery = {}): TraceSections {
  const waivers = waiverRows(compiled, host, query.today);
  const sections: TraceSections = {
    path: pathRows(config, compiled, host),
    modules: moduleRows(compiled),
    variables: variableRows(compiled),
    ...dependencyRows(compiled),
    conditions: conditionRows(compiled, query.predict),
    compliance: complianceRows(compiled, waivers),
    waivers,
  };
  return query.resource === undefined ? sections : onlyResource(sections, query.resource);
}

/** The trace of a host name, enrolled or not; `match` is null and every section empty when no entry matches. */
export function traceHost(config: ConfigSnapshot, host: string, query: TraceQuery = {}): HostTrace {
  const entry = entryFor(config, host);
  if (entry === undefined) return { host, environment: null, match: null, entry: null, ...EMPTY };
  const compiled = compileEntry(config, entry, query.environment);
  return {
    host,
    environment: compiled.body.environment,
    match: compiled.body.match,
    entry: entry.id,
    ...traceEntry(config, compiled, host, query),
  };
}

export interface ModuleTraceRow extends Place {
  readonly entry: string;
  readonly match: string;
  readonly via: ModuleRow['via'];
  readonly role?: string;
}

/** Which entries get a module, and by which path. */
export function traceModule(config: ConfigSnapshot, module: string): readonly ModuleTraceRow[] {
  return config.entries.flatMap((entry) => {
    const compiled = compileEntry(config, entry);
    return compiled.inheritance.modules
      .filter((included) => included.module.name === module)
      .map(({ origin }) => ({
        entry: entry.id,
        match: compiled.body.match,
        via: origin.via,
        ...(origin.role === undefined ? {} : { role: origin.role }),
        ...place(origin.at),
      }));
  });
}
