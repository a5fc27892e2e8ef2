/** YAML nodes → plain data: variables keep their kinds, attributes travel as strings (config.md §1.5). */
import type { Json } from '../base/json.ts';
import type { SourceLocation } from '../base/problem.ts';
import type { YamlNode } from './parse.ts';

export interface Located<T> {
  readonly value: T;
  readonly at: SourceLocation;
}

/** An object without a prototype, so that `__proto__` and `constructor` are ordinary keys. */
export function emptyRecord<T>(): Record<string, T> {
  return Object.create(null) as Record<string, T>;
}

export function recordOf<T>(entries: Iterable<readonly [string, T]>): Record<string, T> {
  const record = emptyRecord<T>();
  for (const [key, value] of entries) record[key] = value;
  return record;
}

/** Plain data as written. */
export function toJson(node: YamlNode): Json {
  if (node.kind === 'scalar') return node.value;
  if (node.kind === 'list') return node.items.map(toJson);
  return recordOf([...node.entries].map(([key, entry]) => [key, toJson(entry.value)] as const));
}

/** The text of a scalar as an attribute: booleans `true`/`false`, integers decimal, floats shortest round-trip; undefined for null. */
export function scalarText(value: string | number | boolean | null): string | undefined {
  return value === null ? undefined : String(value);
}

/** An attribute value: scalars become text, lists and maps keep their shape, null leaves are dropped from them. */
export function attributeValue(node: YamlNode): Json | undefined {
  if (node.kind === 'scalar') return scalarText(node.value);
  if (node.kind === 'list') return node.items.map(attributeValue).filter((item) => item !== undefined);
  const members = [...node.entries].map(([key, entry]) => [key, attributeValue(entry.value)] as const);
  return recordOf(members.filter((member): member is [string, Json] => member[1] !== undefined));
}

/** Calls `visit` for every string leaf. */
export function eachText(value: Json, visit: (text: string) => void): void {
  if (typeof value === 'string') visit(value);
  else if (Array.isArray(value)) for (const item of value) eachText(item, visit);
  else if (typeof value === 'object' && value !== null)
    for (const key of Object.keys(value)) eachText((value as Record<string, Json>)[key]!, visit);
}

/** The same shape with every string leaf replaced; the value itself when nothing changes. */
export function mapText(value: Json, change: (text: string) => string): Json {
  if (typeof value === 'string') return change(value);
  if (Array.isArray(value)) {
    const items = value.map((item: Json) => mapText(item, change));
    return items.every((item, index) => item === value[index]) ? value : items;
  }
  if (typeof value !== 'object' || value === null) return value;
  const source = value as Record<string, Json>;
  const record = emptyRecord<Json>();
  let same = true;
  for (const key of Object.keys(source)) {
    record[key] = mapText(source[key]!, change);
    if (record[key] !== source[key]) same = false;
  }
  return same ? value : record;
}

export function someText(value: Json, test: (text: string) => boolean): boolean {
  let found = false;
  eachText(value, (text) => {
    found ||= test(text);
  });
  return found;
}
