/** A module for one set of circumstances: loops expanded, conditions folded, cases chosen; nothing yet about other modules. */
import type { Json } from '../base/json.ts';
import type { Problem, SourceLocation } from '../base/problem.ts';
import type { VarsWhen } from '../policy/body.ts';
import { resourceSpec } from '../resources/index.ts';
import { substituteActions } from '../template/substitute.ts';
import type { TemplateUse } from '../template/uses.ts';
import type { Ast, Cond } from '../when/ast.ts';
import { foldWhen, whenSide } from '../when/fold.ts';
import {
  holdsMarker,
  isStatic,
  type ParsedWhen,
  parseCondition,
  parseText,
  problemAt,
  renderStatic,
  type StaticData,
} from './expressions.ts';
import type { PreparedAttributes, PreparedModule, PreparedResource, PreparedVarsWhen } from './prepare.ts';
import { refusesSecrets } from './prepare.ts';
import { markLeaves, refsIn } from './secrets.ts';
import type { ConfigSnapshot, ResourceDeclaration, VarsWhenBlock } from './snapshot.ts';
import { isRelativeSource, templateFile } from './template-file.ts';
import { emptyRecord, mapText } from './values.ts';
import { lookUp, type Variables } from './variables.ts';

/** What an entry says to its modules. */
export interface Circumstances {
  readonly config: ConfigSnapshot;
  readonly environment: string | undefined;
  /** OS families of role cases; empty = all */
  readonly families: readonly string[];
  readonly data: StaticData;
  /** a layer or a vars_when block provides the name */
  isProvided(name: string): boolean;
  isSecret(name: string): boolean;
  readonly anySecret: boolean;
}

/** How one condition was treated, for trace. */
export interface FoldedCondition {
  readonly target: string;
  readonly at: SourceLocation;
  readonly side: 'server' | 'agent' | 'split';
  readonly source: string;
  readonly resolved: string;
}

export interface Instance {
  readonly declaration: ResourceDeclaration;
  readonly name: string;
  /** the unexpanded name, when the declaration has a foreach */
  readonly group: string | undefined;
  readonly item: Json | undefined;
  readonly index: number | undefined;
  readonly attributes: Readonly<Record<string, Json>>;
  readonly branches: Readonly<Record<string, Readonly<Record<string, Json>>>> | undefined;
  readonly caseOf: string | undefined;
  readonly cond: Cond | undefined;
  readonly triggerOnly: boolean;
  readonly sensitive: boolean;
  /** its condition is constantly false here */
  readonly dropped: boolean;
  /** references by key, with the foreach element put in */
  readonly links: readonly {
    readonly key: 'depends_on' | 'before' | 'notify' | 'subscribes';
    readonly name: string;
    readonly at: SourceLocation;
  }[];
}

export interface FoldedModule {
  readonly prepared: PreparedModule;
  readonly cond: Cond | undefined;
  readonly dropped: boolean;
  readonly varsWhen: readonly VarsWhen[];
  readonly instances: readonly Instance[];
  readonly templates: readonly string[];
  readonly conditions: readonly FoldedCondition[];
  readonly problems: readonly Problem[];
}

interface Folded {
  readonly kind: 'true' | 'false' | 'rest';
  readonly cond: Cond | undefined;
  readonly triggerOnly: boolean;
}

const ALWAYS: Folded = { kind: 'true', cond: undefined, triggerOnly: false };
const KEYS = ['depends_on', 'before', 'notify', 'subscribes'] as const;

function familyCondition(families: readonly string[]): Cond | undefined {
  if (families.length === 0) return undefined;
  const call = (family: string): Ast => ({ op: 'call', name: 'os_family', args: [{ kind: 'text', parts: [family] }] });
  const source = families.map((family) => `os_family('${family}')`).join(' || ');
  return {
    ast: families.slice(1).reduce<Ast>((left, family) => ({ op: 'or', left, right: call(family) }), call(families[0]!)),
    source,
    resolved: source,
  };
}

function both(left: Cond | undefined, right: Cond | undefined): Cond | undefined {
  if (left === undefined || right === undefined) return left ?? right;
  return {
    ast: { op: 'and', left: left.ast, right: right.ast },
    source: `(${left.source}) && (${right.source})`,
    resolved: `(${left.resolved}) && (${right.resolved})`,
  };
}

class ModuleFold {
  readonly problems: Problem[] = [];
  readonly conditions: FoldedCondition[] = [];
  readonly templates = new Set<string>();
  readonly #module: string;
  readonly #in: Circumstances;

  constructor(module: string, circumstances: Circumstances) {
    this.#module = module;
    this.#in = circumstances;
  }

  error(rule: string, at: SourceLocation, message: string, resource?: string): void {
    this.problems.push({ ...problemAt({ rule, message }, at), module: this.#module, ...(resource === undefined ? {} : { resource }) });
  }

  condition(when: ParsedWhen | undefined, target: string, data: StaticData, changedAllowed: boolean): Folded {
    if (when?.ast === undefined) return ALWAYS;
    for (const use of when.uses)
      if (use.root === 'Vars' && use.path[0] !== undefined && this.#in.isSecret(use.path[0]))
        this.error('SEC-4', when.source.at, 'a secret cannot be part of "when"', target);
    const folded = foldWhen(when.ast, when.source.value, {
      environment: this.#in.environment ?? null,
      renderStatic: (action) => {
        const known = when.actions.get(action);
        return known === undefined ? undefined : renderStatic(known.parsed, data);
      },
      changedAllowed,
    });
    for (const problem of folded.problems) this.error(problem.rule, when.source.at, problem.message, target);
    const resolved = folded.cond?.resolved ?? (folded.kind === 'false' ? 'false' : folded.triggerOnly ? 'changed' : 'true');
    const side = whenSide(when.ast, folded);
    this.conditions.push({
      target: target === '' ? this.#module : `${this.#module}/${target}`,
      at: when.source.at,
      side,
      source: when.source.value,
      resolved,
    });
    return { kind: folded.kind, cond: folded.cond, triggerOnly: folded.triggerOnly };
  }

  varsWhen(blocks: readonly PreparedVarsWhen[]): readonly VarsWhen[] {
    return foldVarsWhen(blocks, (when) => this.condition(when, '(vars)', this.#in.data, false));
  }

  resource(prepared: PreparedResource, module: Folded): readonly Instance[] {
    const { declaration } = prepared;
    if (declaration.foreach === undefined) return [this.#instance(prepared, module, undefined)];
    const name = declaration.foreach.value.replace(/^\{\{\s*\.Vars\.|^\.Vars\.|\s*\}\}$/g, '');
    const label = declaration.name.value;
    const value = this.#in.data.variable(name);
    if (!Array.isArray(value)) {
      const why =
        this.#in.data.isKnown(name) || this.#in.isSecret(name)
          ? value === undefined
            ? 'is not set'
            : 'is not a list'
          : 'may be set by vars_when';
      this.error('FOR-1', declaration.foreach.at, `"foreach": variable "${name}" ${why}`, label);
      return [];
    }
    if (value.length > 1_000) {
      this.error('FOR-2', declaration.foreach.at, `"foreach": variable "${name}" has more than 1,000 elements`, label);
      return [];
    }
    return value.map((item: Json, index) => this.#instance(prepared, module, { item, index }));
  }

  #instance(prepared: PreparedResource, module: Folded, element: { item: Json; index: number } | undefined): Instance {
    const { declaration } = prepared;
    const label = declaration.name.value;
    const data: StaticData = { variable: (name) => this.#in.data.variable(name), isKnown: (name) => this.#in.data.isKnown(name), element };
    const fill = (text: string): string =>
      element === undefined ? text : substituteActions(text, ({ template }) => this.#element(template, data));
    let name = fill(label);
    if (element !== undefined && !label.includes('{{')) name = `${label} [${element.index}]`;
    this.#checkName(name, declaration, label);
    const own = this.condition(prepared.when, name, data, true);
    const chosen = this.#choose(prepared, data, fill);
    const attributes = emptyRecord<Json>();
    const merged: PreparedAttributes =
      chosen.branch === undefined ? prepared.attributes : new Map([...prepared.attributes, ...chosen.branch]);
    let sensitive = this.#values(merged, attributes, declaration, fill);
    if (attributes['name'] !== undefined && declaration.attributes['name']?.value === label) attributes['name'] = name;
    const branches = chosen.caseOf === undefined ? undefined : emptyRecord<Record<string, Json>>();
    if (branches !== undefined)
      for (const [key, branch] of prepared.branches) {
        branches[key] = emptyRecord<Json>();
        if (this.#values(branch, branches[key], declaration, fill)) sensitive = true;
      }
    const links = KEYS.flatMap((key) => linksOf(declaration, key).map((link) => ({ key, name: fill(link.name), at: link.at })));
    for (const link of links) if (holdsMarker(link.name)) this.error('SEC-3', link.at, `a secret cannot be part of "${link.key}"`, label);
    return {
      declaration,
      name,
      group: element === undefined ? undefined : label,
      item: element?.item,
      index: element?.index,
      attributes,
      branches,
      caseOf: chosen.caseOf,
      cond: own.cond,
      triggerOnly: own.triggerOnly || module.triggerOnly,
      sensitive,
      dropped: own.kind === 'false' || module.kind === 'false',
      links,
    };
  }

  /** Only actions of the element: others stay for the agent (config.md §5.5). */
  #element(template: Parameters<Parameters<typeof substituteActions>[1]>[0]['template'], data: StaticData): string | undefined {
    const parsed = parseText(template.text, 'interpolation');
    if (!parsed.uses.every((use) => use.root === 'Item' || use.root === 'Each' || use.root === 'Index')) return undefined;
    return parsed.uses.length === 0 ? undefined : renderStatic(parsed, data);
  }

  #checkName(name: string, declaration: ResourceDeclaration, label: string): void {
    const at = declaration.name.at;
    if (holdsMarker(name)) this.error('SEC-3', at, 'a secret cannot be part of a name', label);
    else if (name.includes('{{')) this.error('TPL-4', at, '"name" is never rendered', label);
    else if (name !== label && (name.trim() === '' || /[/\u0000-\u001f\u007f]/.test(name) || [...name].length > 200))
      this.error('SCHEMA-10', at, `"${name}" is not a resource name`, label);
  }

  #choose(prepared: PreparedResource, data: StaticData, fill: (text: string) => string): { branch?: PreparedAttributes; caseOf?: string } {
    const source = prepared.declaration.caseOf;
    if (source === undefined || prepared.caseOf === undefined) return {};
    if (prepared.caseOf.uses.some((use) => use.root === 'Vars' && use.path[0] !== undefined && this.#in.isSecret(use.path[0])))
      this.error('SEC-4', source.at, 'a secret cannot be part of "case"', prepared.declaration.name.value);
    const text = source.value.includes('{{')
      ? isStatic(prepared.caseOf.uses, data)
        ? renderStatic(prepared.caseOf, data)
        : undefined
      : source.value;
    if (text === undefined) return { caseOf: fill(source.value) };
    const branch = prepared.branches.get(text.trim().toLowerCase()) ?? prepared.branches.get('default');
    return branch === undefined ? {} : { branch };
  }

  /** Fills `into`; says whether a secret is among the values. */
  #values(from: PreparedAttributes, into: Record<string, Json>, declaration: ResourceDeclaration, fill: (text: string) => string): boolean {
    let sensitive = false;
    const spec = resourceSpec(declaration.type);
    for (const attribute of from.values()) {
      const value = attribute.hasActions && !attribute.isProgram ? mapText(attribute.value, fill) : attribute.value;
      into[attribute.key] = value;
      if (attribute.hasMarkers || this.#readsSecret(attribute.uses) || (value !== attribute.value && refsIn(value).length > 0)) {
        sensitive = true;
        if (refusesSecrets(declaration.type, attribute.key, spec?.docs[attribute.key]) && !attribute.hasMarkers)
          this.error('SEC-5', attribute.at, `a secret must not reach "${attribute.key}"`, declaration.name.value);
      }
      if (attribute.key === 'source' && typeof value === 'string' && !value.includes('{{') && isRelativeSource(value)) {
        const file = templateFile(this.#in.config, value);
        if (file === undefined) {
          if (attribute.hasActions) this.error('REF-11', attribute.at, `there is no file "${value}" in the tree`, declaration.name.value);
        } else {
          this.templates.add(value);
          if (file.refs.length > 0 || this.#readsSecret(file.uses)) sensitive = true;
        }
      }
    }
    return sensitive;
  }

  #readsSecret(uses: readonly TemplateUse[]): boolean {
    return uses.some((use) => {
      if (use.root === '(all)') return this.#in.anySecret && use.path.length === 0;
      if (use.root !== 'Vars') return false;
      return use.path[0] === undefined ? this.#in.anySecret : this.#in.isSecret(use.path[0]);
    });
  }
}

function linksOf(declaration: ResourceDeclaration, key: (typeof KEYS)[number]) {
  if (key === 'depends_on') return declaration.dependsOn;
  return key === 'before' ? declaration.before : key === 'notify' ? declaration.notify : declaration.subscribes;
}

/** Blocks that can still hold; each keeps what is left of its condition. */
export function foldVarsWhen(blocks: readonly PreparedVarsWhen[], fold: (when: ParsedWhen | undefined) => Folded): readonly VarsWhen[] {
  return blocks.flatMap(({ block, when }) => {
    const folded = fold(when);
    if (folded.kind === 'false') return [];
    const vars = emptyRecord<Json>();
    for (const [name, { value }] of block.vars) vars[name] = markLeaves(value).value;
    return [folded.cond === undefined ? { vars } : { when: folded.cond, vars }];
  });
}

function checkUses(prepared: PreparedModule, circumstances: Circumstances, fold: ModuleFold): void {
  for (const { use, at, resource } of prepared.reads) {
    const inLoop = use.root === 'Item' || use.root === 'Each' || use.root === 'Index';
    if (use.root === 'Vars' && use.path[0] !== undefined && !use.guarded && !circumstances.isProvided(use.path[0]))
      fold.error('VAR-4', at, `no layer provides the variable "${use.path[0]}"`, resource);
    else if (use.root === '(all)' && use.path[0] !== undefined)
      fold.error('VAR-4', at, `there is no ".${use.path[0]}" in a template`, resource);
    else if (
      inLoop &&
      !prepared.resources.some(({ declaration }) => declaration.name.value === resource && declaration.foreach !== undefined)
    )
      fold.error('VAR-4', at, `".${use.root}" exists only with "foreach"`, resource);
  }
}

/** The vars_when blocks of common files and the entry: seen by all modules (config.md §4.4). */
export function foldEntryVars(
  config: ConfigSnapshot,
  blocks: readonly VarsWhenBlock[],
  environment: string | undefined,
  variables: Variables,
): { blocks: readonly VarsWhen[]; conditions: readonly FoldedCondition[]; problems: readonly Problem[] } {
  const conditional = new Set(blocks.flatMap((block) => [...block.vars.keys()]));
  const isSecret = (name: string) => lookUp(variables, undefined, name)?.secret === true;
  const data: StaticData = {
    variable: (name) => lookUp(variables, undefined, name)?.value,
    isKnown: (name) => !conditional.has(name) && !isSecret(name),
    element: undefined,
  };
  const circumstances: Circumstances = { config, environment, families: [], data, isProvided: () => true, isSecret, anySecret: false };
  const fold = new ModuleFold('(entry)', circumstances);
  const prepared = blocks.map((block) => {
    const when = block.when === undefined ? undefined : parseCondition(block.when);
    if (when !== undefined) fold.problems.push(...when.problems);
    return { block, when };
  });
  return { blocks: fold.varsWhen(prepared), conditions: fold.conditions, problems: fold.problems };
}

export function foldModule(prepared: PreparedModule, circumstances: Circumstances): FoldedModule {
  const fold = new ModuleFold(prepared.module.name, circumstances);
  checkUses(prepared, circumstances, fold);
  const when = fold.condition(prepared.when, '', circumstances.data, true);
  const varsWhen = fold.varsWhen(prepared.varsWhen);
  const instances = prepared.resources.flatMap((resource) => fold.resource(resource, when));
  return {
    prepared,
    cond: both(familyCondition(circumstances.families), when.cond),
    dropped: when.kind === 'false',
    varsWhen,
    instances,
    templates: [...fold.templates],
    conditions: fold.conditions,
    problems: fold.problems,
  };
}
