/** YAML text → nodes with positions (config.md §1.3): one document, core schema, no custom tags, bounded depth and aliases. */
import { isAlias, isMap, isScalar, isSeq, type Node, type Pair, parseDocument, type Scalar } from 'yaml';
import type { Problem, SourceLocation } from '../base/problem.ts';

export interface YamlMap {
  readonly kind: 'map';
  readonly at: SourceLocation;
  readonly entries: ReadonlyMap<string, YamlEntry>;
}
export interface YamlEntry {
  readonly keyAt: SourceLocation;
  readonly value: YamlNode;
}
export interface YamlList {
  readonly kind: 'list';
  readonly at: SourceLocation;
  readonly items: readonly YamlNode[];
}
export interface YamlScalar {
  readonly kind: 'scalar';
  readonly at: SourceLocation;
  readonly value: string | number | boolean | null;
  /** unquoted: the text as written, else undefined */
  readonly plain: string | undefined;
}
export type YamlNode = YamlMap | YamlList | YamlScalar;

export const MAX_DEPTH = 64;
export const MAX_ALIAS_NODES = 10_000;
const MAX_ERRORS = 20;
const CORE_TAGS = new Set(['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((name) => `tag:yaml.org,2002:${name}`));
const MARKS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/;

export interface ParsedYaml {
  /** undefined: nothing in the file, or not readable */
  readonly root: YamlNode | undefined;
  readonly empty: boolean;
  readonly problems: readonly Problem[];
}

class Stop extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

class Conversion {
  readonly problems: Problem[] = [];
  readonly #file: string;
  readonly #lineStarts: number[] = [0];
  readonly #anchors = new Map<string, { node: YamlNode; size: number }>();
  #aliasNodes = 0;

  constructor(file: string, text: string) {
    this.#file = file;
    for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) this.#lineStarts.push(i + 1);
  }

  location(offset: number): SourceLocation {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lineStarts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { file: this.#file, line: low + 1, column: offset - this.#lineStarts[low]! + 1 };
  }

  report(rule: string, message: string, at: SourceLocation, hint?: string): void {
    this.problems.push({ rule, severity: 'error', message, at, ...(hint === undefined ? {} : { hint }) });
  }

  /** The node and its size with aliases expanded. */
  node(node: Node | null | undefined, depth: number, fallback: number): { node: YamlNode; size: number } {
    const at = this.location(node?.range?.[0] ?? fallback);
    if (depth > MAX_DEPTH) throw new Stop({ rule: 'YAML-4', severity: 'error', message: `nested deeper than ${MAX_DEPTH} levels`, at });
    if (node === null || node === undefined) return { node: { kind: 'scalar', at, value: null, plain: '' }, size: 1 };
    if (isAlias(node)) return this.#alias(node.source, at);
    const tag = 'tag' in node ? node.tag : undefined;
    if (tag !== undefined && !CORE_TAGS.has(tag)) this.report('YAML-1', `tag "${tag}" is not allowed`, at);
    const made = isMap(node)
      ? this.#map(node.items as Pair<Node, Node | null>[], at, depth)
      : isSeq(node)
        ? this.#list(node.items as Node[], at, depth)
        : { node: this.#scalar(node as Scalar, at), size: 1 };
    if ('anchor' in node && typeof node.anchor === 'string') this.#anchors.set(node.anchor, made);
    return made;
  }

  #alias(name: string, at: SourceLocation): { node: YamlNode; size: number } {
    const target = this.#anchors.get(name);
    if (target === undefined)
      throw new Stop({ rule: 'YAML-1', severity: 'error', message: `alias "*${name}" stands inside or before its anchor`, at });
    this.#aliasNodes += target.size;
    if (this.#aliasNodes > MAX_ALIAS_NODES)
      throw new Stop({ rule: 'YAML-4', severity: 'error', message: `aliases expand to more than ${MAX_ALIAS_NODES} nodes`, at });
    return target;
  }

  #list(items: readonly Node[], at: SourceLocation, depth: number): { node: YamlList; size: number } {
    let size = 1;
    const nodes = items.map((item) => {
      const made = this.node(item, depth + 1, 0);
      size += made.size;
      return made.node;
    });
    return { node: { kind: 'list', at, items: nodes }, size };
  }

  #map(items: readonly Pair<Node, Node | null>[], at: SourceLocation, depth: number): { node: YamlMap; size: number } {
    const own = new Map<string, YamlEntry>();
    const merged = new Map<string, YamlEntry>();
    let size = 1;
    for (const pair of items) {
      const keyNode = pair.key as Node | null;
      const keyAt = this.location(keyNode?.range?.[0] ?? 0);
      const { node: value, size: valueSize } = this.node(pair.value, depth + 1, keyNode?.range?.[1] ?? 0);
      size += valueSize + 1;
      if (!isScalar(keyNode)) {
        this.report('YAML-1', 'a key must be plain text', keyAt);
        continue;
      }
      const key = keyText(keyNode);
      if (key === '<<' && keyNode.type === 'PLAIN') {
        this.#merge(value, merged, keyAt);
        continue;
      }
      const first = own.get(key);
      if (first === undefined) own.set(key, { keyAt, value });
      else this.report('YAML-3', `key "${key}" occurs twice, first on line ${first.keyAt.line}`, keyAt);
    }
    for (const [key, entry] of merged) if (!own.has(key)) own.set(key, entry);
    return { node: { kind: 'map', at, entries: own }, size };
  }

  #merge(value: YamlNode, into: Map<string, YamlEntry>, at: SourceLocation): void {
    for (const source of value.kind === 'list' ? value.items : [value]) {
      if (source.kind !== 'map') {
        this.report('YAML-1', 'the merge key "<<" takes a mapping or a list of mappings', at);
        return;
      }
      this.#aliasNodes += source.entries.size;
      if (this.#aliasNodes > MAX_ALIAS_NODES)
        throw new Stop({ rule: 'YAML-4', severity: 'error', message: `aliases expand to more than ${MAX_ALIAS_NODES} nodes`, at });
      for (const [key, entry] of source.entries) if (!into.has(key)) into.set(key, entry);
    }
  }

  #scalar(node: Scalar, at: SourceLocation): YamlScalar {
    const plain = node.type === 'PLAIN' ? (node.source ?? '') : undefined;
    let value = node.value;
    if (typeof value === 'bigint') value = Number(value);
    if (typeof value === 'number' && (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))) {
      this.report('YAML-1', `number ${plain ?? String(value)} is outside the exact range`, at, 'quote it to keep it as text');
      value = plain ?? String(value);
    }
    if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      if (typeof value === 'string' && MARKS.test(value)) this.report('YAML-2', 'text holds a control character', at);
      return { kind: 'scalar', at, value, plain };
    }
    this.report('YAML-1', 'a value of this kind is not allowed', at);
    return { kind: 'scalar', at, value: null, plain };
  }
}

/** The parser recurses: running out of stack, which it reports as an error of its own, means absurd nesting. */
function messageFor(error: { code: string; message: string }): [rule: string, message: string] {
  if (error.code === 'MULTIPLE_DOCS') return ['YAML-1', 'one file holds one document'];
  return error.message.includes('call stack') ? ['YAML-4', `nested deeper than ${MAX_DEPTH} levels`] : ['YAML-1', error.message];
}

function keyText(node: Scalar): string {
  if (typeof node.value === 'string') return node.value;
  return node.source ?? String(node.value);
}

function decode(file: string, bytes: Uint8Array): { text: string } | { problem: Problem } {
  const bad = (message: string, offset: number): { problem: Problem } => {
    let line = 1;
    for (let i = 0; i < offset; i++) if (bytes[i] === 10) line++;
    return { problem: { rule: 'YAML-2', severity: 'error', message, at: { file, line, column: 1 } } };
  };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // the decoder does not say where: the first replacement character does
    return bad('text is not UTF-8', Buffer.byteLength(new TextDecoder('utf-8').decode(bytes).split('\ufffd')[0] ?? ''));
  }
  const mark = MARKS.exec(text);
  return mark === null ? { text } : bad('text holds a control character', Buffer.byteLength(text.slice(0, mark.index)));
}

/** Parses one file; never throws. */
export function parseYaml(file: string, bytes: Uint8Array): ParsedYaml {
  const decoded = decode(file, bytes);
  if ('problem' in decoded) return { root: undefined, empty: false, problems: [decoded.problem] };
  const conversion = new Conversion(file, decoded.text);
  try {
    const document = parseDocument(decoded.text, {
      schema: 'core',
      version: '1.2',
      uniqueKeys: false,
      merge: false,
      intAsBigInt: true,
      prettyErrors: false,
      logLevel: 'error',
    });
    for (const error of document.errors.slice(0, MAX_ERRORS)) conversion.report(...messageFor(error), conversion.location(error.pos[0]));
    if (document.directives?.yaml.version !== undefined && document.directives.yaml.version !== '1.2')
      conversion.report('YAML-1', 'only YAML 1.2 is read', conversion.location(0));
    if (document.errors.length > 0) return { root: undefined, empty: false, problems: conversion.problems };
    if (document.contents === null) return { root: undefined, empty: true, problems: conversion.problems };
    const { node } = conversion.node(document.contents as Node, 1, 0);
    const empty = node.kind === 'scalar' && node.value === null;
    return { root: empty ? undefined : node, empty, problems: conversion.problems };
  } catch (thrown) {
    if (thrown instanceof Stop) return { root: undefined, empty: false, problems: [...conversion.problems, thrown.problem] };
    if (!(thrown instanceof RangeError)) throw thrown;
    const problem: Problem = {
      rule: 'YAML-4',
      severity: 'error',
      message: `nested deeper than ${MAX_DEPTH} levels`,
      at: conversion.location(0),
    };
    return { root: undefined, empty: false, problems: [...conversion.problems, problem] };
  }
}
