/** What can be known of a module before any entry includes it: parsed templates and conditions, secret markers, static findings. */
import type { Json } from '../base/json.ts';
import type { Problem, SourceLocation } from '../base/problem.ts';
import type { AttributeDoc } from '../resources/define.ts';
import { resourceSpec } from '../resources/index.ts';
import type { TemplateUse } from '../template/uses.ts';
import { holdsMarker, type ParsedText, type ParsedWhen, parseCondition, parseText, problemAt } from './expressions.ts';
import { graphNames } from './load-resource.ts';
import { holdsReference, markLeaves, markText, refsIn, wholeReference } from './secrets.ts';
import type { Attributes, ConfigSnapshot, Module, ResourceDeclaration, VarsWhenBlock } from './snapshot.ts';
import { isRelativeSource, templateFile } from './template-file.ts';
import { eachText, emptyRecord, type Located } from './values.ts';

export interface PreparedAttribute {
  readonly key: string;
  readonly at: SourceLocation;
  /** references are markers */
  readonly value: Json;
  readonly uses: readonly TemplateUse[];
  readonly hasActions: boolean;
  readonly hasMarkers: boolean;
  /** a full template with control structures: only the agent can render it */
  readonly isProgram: boolean;
}

export type PreparedAttributes = ReadonlyMap<string, PreparedAttribute>;

export interface PreparedResource {
  readonly declaration: ResourceDeclaration;
  readonly attributes: PreparedAttributes;
  readonly branches: ReadonlyMap<string, PreparedAttributes>;
  readonly when: ParsedWhen | undefined;
  readonly caseOf: ParsedText | undefined;
}

export interface PreparedVarsWhen {
  readonly block: VarsWhenBlock;
  readonly when: ParsedWhen | undefined;
}

export interface PreparedModule {
  readonly module: Module;
  readonly when: ParsedWhen | undefined;
  readonly varsWhen: readonly PreparedVarsWhen[];
  readonly resources: readonly PreparedResource[];
  /** every use of data, for VAR-4, VAR-5 and sensitivity */
  readonly reads: readonly { readonly use: TemplateUse; readonly at: SourceLocation; readonly resource: string | undefined }[];
  /** names of variables whose values decide what the server makes of the module */
  readonly decidingNames: readonly string[];
  /** names of all variables read */
  readonly readNames: readonly string[];
  /** a `source:` is known only after expansion: results must not be shared between entries */
  readonly hasLateSource: boolean;
  readonly problems: readonly Problem[];
}

const NEVER_SECRET = new Set([
  'command',
  'onlyif',
  'unless',
  'environment',
  'env',
  'validate',
  'on_revert',
  'script',
  'args',
  'arguments',
  'params',
]);
const LOOKS_SECRET = /password|token|secret|api_key|private_key/i;
/** The one name in braces that is no template: the agent puts the path of the secret file there. */
const SECRET_FILE_ACTION = /\{\{\s*secret_file\s*\}\}/g;

/** May the attribute hold a secret at all (SEC-5)? */
export function refusesSecrets(type: string, key: string, doc: AttributeDoc | undefined): boolean {
  return NEVER_SECRET.has(key) || doc?.kind === 'command' || doc?.kind === 'url' || (type === 'windows_env' && key === 'value');
}

/** The text as far as templates are concerned. */
export function templateText(text: string): string {
  return text.includes('secret_file') ? text.replace(SECRET_FILE_ACTION, (match) => ' '.repeat(match.length)) : text;
}

class Preparation {
  readonly problems: Problem[] = [];
  readonly reads: { use: TemplateUse; at: SourceLocation; resource: string | undefined }[] = [];
  readonly deciding = new Set<string>();
  hasLateSource = false;
  readonly #module: string;
  readonly #config: ConfigSnapshot;

  constructor(config: ConfigSnapshot, module: string) {
    this.#config = config;
    this.#module = module;
  }

  add(problems: readonly Problem[], resource: string | undefined): void {
    for (const problem of problems)
      this.problems.push({ ...problem, module: this.#module, ...(resource === undefined ? {} : { resource }) });
  }

  error(rule: string, at: SourceLocation, message: string, resource: string | undefined, hint?: string): void {
    this.add([problemAt({ rule, message, hint }, at)], resource);
  }

  read(uses: readonly TemplateUse[], at: SourceLocation, resource: string | undefined, deciding: boolean): void {
    for (const use of uses) {
      this.reads.push({ use, at, resource });
      if (deciding && use.root === 'Vars' && use.path[0] !== undefined) this.deciding.add(use.path[0]);
    }
  }

  condition(source: Located<string> | undefined, resource: string | undefined): ParsedWhen | undefined {
    if (source === undefined) return undefined;
    const parsed = parseCondition(source);
    this.add(parsed.problems, resource);
    this.read(parsed.uses, source.at, resource, true);
    return parsed;
  }

  attributes(type: string, attributes: Attributes, resource: string): PreparedAttributes {
    const prepared = new Map<string, PreparedAttribute>();
    for (const [key, located] of Object.entries(attributes)) prepared.set(key, this.#attribute(type, key, located, resource));
    return prepared;
  }

  #attribute(type: string, key: string, { value, at }: Located<Json>, resource: string): PreparedAttribute {
    const doc = resourceSpec(type)?.docs[key];
    const isContent = doc?.kind === 'text' && key === 'content';
    const marked = isContent && typeof value === 'string' ? markText(value) : markLeaves(value);
    for (const message of marked.faults) this.error('SEC-2', at, message, resource);
    const refused = refusesSecrets(type, key, doc);
    eachText(value, (text) => {
      const whole = wholeReference(text) !== undefined;
      if (refused && (whole || holdsReference(text)))
        this.error('SEC-5', at, `a secret must not reach "${key}"`, resource, 'use stdin or secret_file');
      else if (!isContent && !whole && holdsReference(text))
        this.error('SEC-2', at, `a secret reference in "${key}" must be the whole value`, resource, 'write secret\\: for the literal text');
      if (
        typeof value === 'string' &&
        LOOKS_SECRET.test(key) &&
        !isReferenceLike(text) &&
        text.length >= 8 &&
        (doc?.kind ?? 'string') === 'string'
      )
        this.problems.push({
          rule: 'SEC-7',
          severity: 'warning',
          message: `"${key}" holds a literal`,
          hint: 'keep it as a secret: reference',
          at,
          module: this.#module,
          resource,
        });
    });
    const uses: TemplateUse[] = [];
    let hasActions = false;
    let isProgram = false;
    eachText(marked.value, (text) => {
      if (!text.includes('{{')) return;
      const parsed = parseText(templateText(text), isContent ? 'content' : 'interpolation');
      for (const fault of parsed.faults) this.error(fault.rule, at, fault.message, resource, fault.hint);
      uses.push(...parsed.uses);
      hasActions = true;
      isProgram ||= !parsed.flat;
    });
    this.read(uses, at, resource, key === 'source');
    if (key === 'source' && typeof marked.value === 'string') this.#source(marked.value, at, resource, hasActions);
    return { key, at, value: marked.value, uses, hasActions, hasMarkers: refsIn(marked.value).length > 0, isProgram };
  }

  #source(path: string, at: SourceLocation, resource: string, isLate: boolean): void {
    if (isLate) this.hasLateSource = true;
    else if (isRelativeSource(path)) {
      const file = templateFile(this.#config, path);
      if (file === undefined) this.error('REF-11', at, `there is no file "${path}" in the tree`, resource);
      else {
        this.add(file.problems, resource);
        this.read(file.uses, at, resource, false);
      }
    }
  }

  resource(declaration: ResourceDeclaration): PreparedResource {
    const label = declaration.name.value;
    const caseOf = declaration.caseOf;
    let parsedCase: ParsedText | undefined;
    if (caseOf !== undefined) {
      parsedCase = parseText(caseOf.value, 'interpolation');
      for (const fault of parsedCase.faults) this.error(fault.rule, caseOf.at, fault.message, label, fault.hint);
      if (holdsReference(caseOf.value)) this.error('SEC-4', caseOf.at, 'a secret cannot be part of "case"', label);
      this.read(parsedCase.uses, caseOf.at, label, true);
    }
    const looped = declaration.foreach;
    if (looped !== undefined) {
      const name = looped.value.replace(/^\{\{\s*\.Vars\.|^\.Vars\.|\s*\}\}$/g, '');
      this.deciding.add(name);
      this.reads.push({ use: { root: 'Vars', path: [name], guarded: true, whole: false }, at: looped.at, resource: label });
    }
    for (const { name, at } of [{ name: label, at: declaration.name.at }, ...graphNames(declaration)]) {
      if (name.startsWith('secret:')) this.error('SEC-3', at, 'a secret cannot be part of a name or a reference', label);
      if (looped !== undefined && name.includes('{{')) this.read(parseText(name, 'interpolation').uses, at, label, true);
    }
    const attributes = this.attributes(declaration.type, declaration.attributes, label);
    const branches = new Map<string, PreparedAttributes>();
    for (const [key, branch] of declaration.branches) branches.set(key, this.attributes(declaration.type, branch.attributes, label));
    this.#checkValues(declaration, attributes, branches);
    return { declaration, attributes, branches, when: this.condition(declaration.when, label), caseOf: parsedCase };
  }

  /** What the type itself says of values that are certain already (SCHEMA-10). */
  #checkValues(declaration: ResourceDeclaration, base: PreparedAttributes, branches: ReadonlyMap<string, PreparedAttributes>): void {
    const spec = resourceSpec(declaration.type)!;
    const seen = new Set<string>();
    for (const branch of branches.size === 0 ? [new Map<string, PreparedAttribute>()] : branches.values()) {
      const merged = new Map([...base, ...branch]);
      const values = emptyRecord<Json>();
      for (const [key, attribute] of merged) if (key in spec.docs) values[key] = attribute.value;
      const result = spec.attributes.safeParse(values);
      if (result.success) continue;
      const isOpen = [...merged.values()].some((attribute) => attribute.hasActions || attribute.hasMarkers);
      for (const issue of result.error.issues) {
        const attribute = merged.get(String(issue.path[0] ?? ''));
        if (attribute === undefined ? isOpen || issue.path.length > 0 : attribute.hasActions || attribute.hasMarkers) continue;
        const at = attribute?.at ?? declaration.at;
        const message = attribute === undefined ? issue.message : `"${attribute.key}": ${issue.message}`;
        const key = `${at.line}:${at.column}:${message}`;
        if (!seen.has(key) && !message.includes('content excludes source')) this.error('SCHEMA-10', at, message, declaration.name.value);
        seen.add(key);
      }
    }
  }
}

function isReferenceLike(text: string): boolean {
  return wholeReference(text) !== undefined || text.includes('{{') || holdsMarker(text) || text.startsWith('$');
}

const PREPARED = new WeakMap<Module, PreparedModule>();

/** Prepares a module once; entries share the result. */
export function prepareModule(config: ConfigSnapshot, module: Module): PreparedModule {
  const known = PREPARED.get(module);
  if (known !== undefined) return known;
  const preparation = new Preparation(config, module.name);
  const when = preparation.condition(module.when, undefined);
  const varsWhen = module.varsWhen.map((block) => ({ block, when: preparation.condition(block.when, undefined) }));
  const resources = module.resources.map((declaration) => preparation.resource(declaration));
  const prepared: PreparedModule = {
    module,
    when,
    varsWhen,
    resources,
    reads: preparation.reads,
    decidingNames: [...preparation.deciding],
    readNames: [
      ...new Set(preparation.reads.flatMap(({ use }) => (use.root === 'Vars' && use.path[0] !== undefined ? [use.path[0]] : []))),
    ],
    hasLateSource: preparation.hasLateSource,
    problems: preparation.problems,
  };
  PREPARED.set(module, prepared);
  return prepared;
}
