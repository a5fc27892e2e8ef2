/** The values a template computes with: plain data, whole floats told apart from integers, and keys that are not there. */
import { isMap } from 'node:util/types';
import { CodedError } from '../base/errors.ts';

/** A float whose value is whole (`1.0`): JavaScript alone would take it for an integer. */
export class WholeFloat {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** What a missing key yields; knows its path so that the error can name it. */
export class Missing {
  readonly path: string;
  constructor(path: string) {
    this.path = path;
  }
}

export type Value = unknown;
export type Kind = 'nil' | 'undefined' | 'bool' | 'int' | 'float' | 'string' | 'list' | 'map';

export const MAX_OUTPUT = 4 * 1024 * 1024;

export function fail(message: string, hint?: string): never {
  throw new CodedError('EVAL_ERROR', message, { hint });
}

/** Objects of other realms count as plain too, so the prototype's own prototype decides, not its identity. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** @throws CodedError EVAL_ERROR for anything that is not plain data */
export function kindOf(value: Value): Kind {
  if (value === null) return 'nil';
  if (value === undefined || value instanceof Missing) return 'undefined';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'int' : 'float';
  if (typeof value === 'string') return 'string';
  if (value instanceof WholeFloat) return 'float';
  if (Array.isArray(value)) return 'list';
  if (typeof value === 'object' && (isMap(value) || isPlain(value))) return 'map';
  return fail('a value that is not plain data');
}

export function float(value: number): Value {
  return Number.isSafeInteger(value) ? new WholeFloat(value) : value;
}

/** The integer itself, or an error when it is beyond ±(2^53−1). */
export function integer(value: number): number {
  if (!Number.isSafeInteger(value)) fail('an integer beyond 2^53-1');
  return value === 0 ? 0 : value;
}

export function numberOf(value: Value): number {
  if (value instanceof WholeFloat) return value.value;
  if (typeof value === 'number') return value;
  return fail(`expected a number, got ${describe(value)}`);
}

export function describe(value: Value): string {
  if (value instanceof Missing) return `undefined ${value.path}`;
  return kindOf(value) === 'string' ? 'a string' : kindOf(value);
}

/** An own member, or undefined. */
export function member(map: Value, key: string): Value {
  if (isMap(map)) return map.get(key);
  return Object.hasOwn(map as object, key) ? (map as Record<string, unknown>)[key] : undefined;
}

export function hasMember(map: Value, key: string): boolean {
  return isMap(map) ? map.has(key) : Object.hasOwn(map as object, key);
}

export function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'));
}

/** Keys in byte order. */
export function sortedKeys(map: Value): string[] {
  const keys = isMap(map) ? [...map.keys()].filter((key) => typeof key === 'string') : Object.keys(map as object);
  return keys.sort(compareBytes);
}

export function sizeOf(map: Value): number {
  return isMap(map) ? map.size : Object.keys(map as object).length;
}

/** What `if` asks (config.md §8.4). */
export function isTrue(value: Value): boolean {
  const kind = kindOf(value);
  if (kind === 'nil' || kind === 'undefined') return false;
  if (kind === 'bool' || kind === 'string') return Boolean(value);
  if (kind === 'int' || kind === 'float') return numberOf(value) !== 0;
  if (kind === 'list') return (value as unknown[]).length > 0;
  return sizeOf(value) > 0;
}

export function stringOf(value: Value, what: string): string {
  if (typeof value !== 'string') fail(`${what}: expected a string, got ${describe(value)}`);
  return value;
}

export function integerOf(value: Value, what: string): number {
  if (kindOf(value) !== 'int') fail(`${what}: expected an integer, got ${describe(value)}`);
  return value as number;
}

export function listOf(value: Value, what: string): readonly Value[] {
  if (!Array.isArray(value)) fail(`${what}: expected a list, got ${describe(value)}`);
  return value;
}

export function mapOf(value: Value, what: string): object {
  if (kindOf(value) !== 'map') fail(`${what}: expected a map, got ${describe(value)}`);
  return value as object;
}

export function checkedText(text: string): string {
  if (text.length > MAX_OUTPUT) fail('a text grows beyond 4 MiB');
  return text;
}

/** Plain JSON of a value, for encoders; whole floats become numbers. Bounded in depth and size. */
export function plain(value: Value): unknown {
  let budget = 1_000_000;
  const walk = (item: Value, depth: number): unknown => {
    if (--budget < 0 || depth > 200) fail('a value is too large or too deep to be written');
    const kind = kindOf(item);
    if (kind === 'undefined') fail(`${describe(item)} cannot be written`);
    if (kind === 'int' || kind === 'float') return numberOf(item);
    if (kind === 'list') return (item as Value[]).map((each) => walk(each, depth + 1));
    if (kind !== 'map') return item;
    const copy: Record<string, unknown> = Object.create(null);
    for (const key of sortedKeys(item)) copy[key] = walk(member(item, key), depth + 1);
    return copy;
  };
  return walk(value, 0);
}
