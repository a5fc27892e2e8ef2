/** Readers of YAML nodes that collect findings instead of throwing: keys, names, texts, flags, variables. */
import { didYouMean } from '../base/did-you-mean.ts';
import type { Json } from '../base/json.ts';
import type { Problem, SourceLocation } from '../base/problem.ts';
import type { YamlMap, YamlNode } from './parse.ts';
import type { Named, Vars, VarsWhenBlock } from './snapshot.ts';
import { type Located, scalarText, toJson } from './values.ts';

/** Collects the findings of one load. */
export class Findings {
  readonly problems: Problem[] = [];

  error(rule: string, at: SourceLocation | undefined, message: string, more: Partial<Problem> = {}): void {
    this.problems.push({ rule, severity: 'error', message, at, ...more });
  }

  warning(rule: string, at: SourceLocation | undefined, message: string, more: Partial<Problem> = {}): void {
    this.problems.push({ rule, severity: 'warning', message, at, ...more });
  }

  info(rule: string, at: SourceLocation | undefined, message: string, more: Partial<Problem> = {}): void {
    this.problems.push({ rule, severity: 'info', message, at, ...more });
  }
}

/** canonical key → accepted aliases (config.md §1.4) */
export type KeyTable = Readonly<Record<string, readonly string[]>>;

export interface KeyedNode {
  readonly keyAt: SourceLocation;
  readonly value: YamlNode;
}

/** Members under canonical names; unknown keys are SCHEMA-1, a key beside its alias SCHEMA-2. `null` members count as absent. */
export function readKeys(node: YamlMap, table: KeyTable, what: string, findings: Findings): ReadonlyMap<string, KeyedNode> {
  const canonical = new Map<string, string>();
  for (const [key, aliases] of Object.entries(table)) {
    canonical.set(key, key);
    for (const alias of aliases) canonical.set(alias, key);
  }
  const members = new Map<string, KeyedNode>();
  const written = new Map<string, string>();
  for (const [key, { keyAt, value }] of node.entries) {
    const name = canonical.get(key);
    if (name === undefined) {
      const hint = didYouMean(key, canonical.keys());
      findings.error('SCHEMA-1', keyAt, `unknown key "${key}" in ${what}`, hint === undefined ? {} : { hint });
      continue;
    }
    const other = written.get(name);
    if (other !== undefined) {
      findings.error('SCHEMA-2', keyAt, `"${key}" and "${other}" are the same key; write one of them`);
      continue;
    }
    written.set(name, key);
    if (value.kind === 'scalar' && value.value === null) continue;
    members.set(name, { keyAt, value });
  }
  return members;
}

export class NodeReader {
  readonly findings: Findings;

  constructor(findings: Findings) {
    this.findings = findings;
  }

  wrongKind(node: YamlNode, what: string, wanted: string): undefined {
    this.findings.error('SCHEMA-1', node.at, `${what} must be ${wanted}`);
    return undefined;
  }

  map(node: YamlNode | undefined, what: string): YamlMap | undefined {
    if (node === undefined) return undefined;
    return node.kind === 'map' ? node : this.wrongKind(node, what, 'a mapping');
  }

  text(member: KeyedNode | undefined, what: string): Located<string> | undefined {
    if (member === undefined) return undefined;
    const node = member.value;
    const text = node.kind === 'scalar' ? scalarText(node.value) : undefined;
    return text === undefined ? this.wrongKind(node, what, 'text') : { value: text, at: node.at };
  }

  flag(member: KeyedNode | undefined, what: string): Located<boolean> | undefined {
    const text = this.text(member, what);
    if (text === undefined) return undefined;
    const value = parseBoolean(text.value);
    if (value !== undefined) return { value, at: text.at };
    this.findings.error('SCHEMA-10', text.at, `${what} must be true or false`);
    return undefined;
  }

  /** A scalar or a list of scalars. */
  names(member: KeyedNode | undefined, what: string): readonly Named[] {
    if (member === undefined) return [];
    const items = member.value.kind === 'list' ? member.value.items : [member.value];
    return items.flatMap((item) => {
      const text = item.kind === 'scalar' ? scalarText(item.value) : undefined;
      if (text !== undefined) return [{ name: text, at: item.at }];
      this.findings.error('SCHEMA-1', item.at, `${what} must hold names`);
      return [];
    });
  }

  list(member: KeyedNode | undefined, what: string): readonly YamlNode[] {
    if (member === undefined) return [];
    if (member.value.kind === 'list') return member.value.items;
    this.wrongKind(member.value, what, 'a list');
    return [];
  }

  vars(node: YamlNode | undefined, what: string): Vars {
    const vars = new Map<string, Located<Json>>();
    for (const [name, { keyAt, value }] of this.map(node, what)?.entries ?? []) {
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || name.length > 128)
        this.findings.error('VAR-1', keyAt, `"${name}" is not a variable name`, {
          hint: 'letters, digits and "_", at most 128, not starting with a digit',
        });
      else vars.set(name, { value: toJson(value), at: keyAt });
    }
    return vars;
  }

  varsWhen(member: KeyedNode | undefined): readonly VarsWhenBlock[] {
    return this.list(member, '"vars_when"').flatMap((item) => {
      const map = this.map(item, 'an element of "vars_when"');
      if (map === undefined) return [];
      const keys = readKeys(map, { when: [], vars: [] }, '"vars_when"', this.findings);
      return [{ at: item.at, when: this.text(keys.get('when'), '"when"'), vars: this.vars(keys.get('vars')?.value, '"vars"') }];
    });
  }

  environmentVars(member: KeyedNode | undefined): ReadonlyMap<string, Located<Vars>> {
    const blocks = new Map<string, Located<Vars>>();
    for (const [name, { keyAt, value }] of this.map(member?.value, '"environment_overrides"')?.entries ?? [])
      blocks.set(name, { value: this.vars(value, `"environment_overrides.${name}"`), at: keyAt });
    return blocks;
  }
}

/** `true/false/yes/no/1/0` in any case. */
export function parseBoolean(text: string): boolean | undefined {
  const word = text.trim().toLowerCase();
  if (word === 'true' || word === 'yes' || word === '1') return true;
  return word === 'false' || word === 'no' || word === '0' ? false : undefined;
}
