/** Functions on numbers: integers are exact, floats stay floats. */
import { describe, fail, float, integer, integerOf, kindOf, numberOf, type Value } from '../value.ts';
import { inGroup, MANY, type TemplateFunction } from './function.ts';

const define = inGroup('numbers');

/** Integers stay integers; one float makes the result a float. */
function fold(name: string, args: readonly Value[], step: (a: number, b: number) => number): Value {
  const kinds = args.map(kindOf);
  const wrong = args.find((_each, index) => kinds[index] !== 'int' && kinds[index] !== 'float');
  if (wrong !== undefined) return fail(`${name}: expected a number, got ${describe(wrong)}`);
  const result = args.map(numberOf).reduce(step);
  if (!Number.isFinite(result)) return fail(`${name}: the result is not finite`);
  return kinds.includes('float') ? float(result) : integer(result);
}

function toInteger(value: Value): number {
  const kind = kindOf(value);
  if (kind === 'int' || kind === 'float') return integer(Math.trunc(numberOf(value)));
  if (kind === 'bool') return value === true ? 1 : 0;
  if (typeof value !== 'string' || !/^\s*[+-]?\d+(\.\d+)?\s*$/.test(value))
    return fail(`int: ${typeof value === 'string' ? `"${value.slice(0, 40)}"` : describe(value)} is not a decimal number`);
  return integer(Math.trunc(Number(value)));
}

function divide(name: string, args: readonly Value[], step: (a: number, b: number) => number): Value {
  const [a, b] = args.map((each) => integerOf(each, name)) as [number, number];
  if (b === 0) return fail(`${name}: division by zero`);
  return integer(step(a, b));
}

export const NUMBERS: readonly TemplateFunction[] = [
  define('add', [1, MANY], 'a b…', 'the sum', (args) => fold('add', args, (a, b) => a + b)),
  define('div', [2, 2], 'a b', 'integer division', (args) => divide('div', args, (a, b) => Math.trunc(a / b))),
  define('int', [1, 1], 'v', 'an integer: floats are truncated, text must be decimal', ([value]) => toInteger(value)),
  define('max', [1, MANY], 'a b…', 'the largest', (args) => fold('max', args, (a, b) => Math.max(a, b))),
  define('min', [1, MANY], 'a b…', 'the smallest', (args) => fold('min', args, (a, b) => Math.min(a, b))),
  define('mod', [2, 2], 'a b', 'the rest of an integer division', (args) => divide('mod', args, (a, b) => a % b)),
  define('mul', [1, MANY], 'a b…', 'the product', (args) => fold('mul', args, (a, b) => a * b)),
  define('sub', [2, 2], 'a b', 'a minus b', (args) => fold('sub', args, (a, b) => a - b)),
];
