/** The functions that Go's text/template brings along. */
import { sprint } from '../print.ts';
import { printf } from '../printf.ts';
import {
  checkedText,
  compareBytes,
  describe,
  fail,
  integerOf,
  isTrue,
  kindOf,
  Missing,
  member,
  numberOf,
  sizeOf,
  type Value,
} from '../value.ts';
import { inGroup, MANY, type TemplateFunction } from './function.ts';

const define = inGroup('builtin');

function areEqual(a: Value, b: Value): boolean {
  const kinds = [kindOf(a), kindOf(b)] as const;
  if (kinds.some((kind) => kind === 'list' || kind === 'map')) fail('eq: lists and maps cannot be compared');
  if (kinds.includes('nil')) return kinds[0] === kinds[1];
  const numbers = kinds.every((kind) => kind === 'int' || kind === 'float');
  if (numbers) return numberOf(a) === numberOf(b);
  if (kinds[0] !== kinds[1]) fail(`eq: cannot compare ${describe(a)} with ${describe(b)}`);
  return a === b;
}

function compare(a: Value, b: Value, name: string): number {
  if (typeof a === 'string' && typeof b === 'string') return compareBytes(a, b);
  const kinds = [kindOf(a), kindOf(b)];
  if (!kinds.every((kind) => kind === 'int' || kind === 'float')) fail(`${name}: cannot order ${describe(a)} and ${describe(b)}`);
  return numberOf(a) - numberOf(b);
}

function lengthOf(value: Value): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (kindOf(value) === 'map') return sizeOf(value);
  return fail(`len: ${describe(value)} has no length`);
}

function indexInto(args: readonly Value[]): Value {
  let value = args[0];
  for (const key of args.slice(1)) {
    const kind = kindOf(value);
    if (kind === 'map') {
      if (typeof key !== 'string') return fail(`index: a map wants a string, got ${describe(key)}`);
      value = member(value, key) ?? (member(value, key) === null ? null : new Missing(`key "${key}"`));
    } else if (kind === 'list' || kind === 'string') {
      const items = kind === 'list' ? (value as readonly Value[]) : Buffer.from(value as string, 'utf8');
      const at = integerOf(key, 'index');
      if (at < 0 || at >= items.length) return fail(`index: ${at} is out of range`);
      value = items[at];
    } else return fail(`index: ${describe(value)} cannot be indexed`);
  }
  return value;
}

function slice(args: readonly Value[]): Value {
  const value = args[0];
  const isText = typeof value === 'string';
  if (!isText && !Array.isArray(value)) return fail(`slice: ${describe(value)} cannot be sliced`);
  const items = isText ? Buffer.from(value, 'utf8') : (value as readonly Value[]);
  const bounds = args.slice(1).map((bound) => integerOf(bound, 'slice'));
  if (isText && bounds.length === 3) return fail('slice: a string takes two indexes at most');
  for (const bound of bounds) if (bound < 0 || bound > items.length) return fail(`slice: ${bound} is out of range`);
  const [from = 0, to = items.length, most = items.length] = bounds;
  if (from > to || to > most) return fail(`slice: ${from} is after ${to}`);
  const part = items.slice(from, to);
  if (!isText) return part;
  const text = Buffer.from(part as Buffer).toString('utf8');
  if (Buffer.byteLength(text) !== to - from || text.includes('\ufffd') !== value.slice(0).includes('\ufffd'))
    return fail('slice: a character would be cut in two');
  return text;
}

const HTML: Readonly<Record<string, string>> = { '\0': '\ufffd', '"': '&#34;', "'": '&#39;', '&': '&amp;', '<': '&lt;', '>': '&gt;' };
const JS: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  "'": "\\'",
  '"': '\\"',
  '<': '\\u003C',
  '>': '\\u003E',
  '&': '\\u0026',
  '=': '\\u003D',
};

function escapeJs(text: string): string {
  let result = '';
  for (const char of text) {
    const point = char.codePointAt(0)!;
    if (Object.hasOwn(JS, char)) result += JS[char];
    else if (char === ' ' || /[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(char)) result += char;
    else result += `\\u${point.toString(16).toUpperCase().padStart(4, '0')}`;
  }
  return result;
}

function escapeUrl(text: string): string {
  return encodeURIComponent(text.toWellFormed())
    .replaceAll('%20', '+')
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

export const BUILTINS: readonly TemplateFunction[] = [
  define('and', [1, MANY], 'a b…', 'the first false argument, else the last; stops there', (args) => args.at(-1), {
    acceptsUndefined: true,
    lazy: 'and',
  }),
  define('or', [1, MANY], 'a b…', 'the first true argument, else the last; stops there', (args) => args.at(-1), {
    acceptsUndefined: true,
    lazy: 'or',
  }),
  define('not', [1, 1], 'v', 'true when v is false', ([value]) => !isTrue(value), { acceptsUndefined: true }),
  define('eq', [2, MANY], 'a b…', 'a equals any of the others', ([first, ...rest]) =>
    rest.map((each) => areEqual(first, each)).some(Boolean),
  ),
  define('ne', [2, 2], 'a b', 'a differs from b', ([a, b]) => !areEqual(a, b)),
  define('lt', [2, 2], 'a b', 'a is less than b', ([a, b]) => compare(a, b, 'lt') < 0),
  define('le', [2, 2], 'a b', 'a is less than or equal to b', ([a, b]) => compare(a, b, 'le') <= 0),
  define('gt', [2, 2], 'a b', 'a is greater than b', ([a, b]) => compare(a, b, 'gt') > 0),
  define('ge', [2, 2], 'a b', 'a is greater than or equal to b', ([a, b]) => compare(a, b, 'ge') >= 0),
  define('len', [1, 1], 'v', 'bytes of a string, items of a list or map', ([value]) => lengthOf(value)),
  define('index', [1, MANY], 'c k…', 'the item under each key or position in turn', indexInto),
  define('slice', [1, 4], 's i j', 'a part of a list or string, by position', slice),
  define('print', [0, MANY], 'v…', 'the values as text, a space between two that are no strings', (args) => sprint(args)),
  define('printf', [1, MANY], 'format v…', 'formatted text: %v %s %q %d %x %X %o %b %t %f %e %g %c %%', ([format, ...args]) =>
    printf(typeof format === 'string' ? format : fail(`printf: the format is ${describe(format)}`), args),
  ),
  define('println', [0, MANY], 'v…', 'the values as text, spaces between, a line end after', (args) =>
    checkedText(`${args.map((each) => sprint([each])).join(' ')}\n`),
  ),
  define('html', [1, MANY], 'v…', 'text escaped for HTML', (args) =>
    checkedText(sprint(args).replace(/[\0"'&<>]/g, (char) => HTML[char]!)),
  ),
  define('js', [1, MANY], 'v…', 'text escaped for a JavaScript string', (args) => checkedText(escapeJs(sprint(args)))),
  define('urlquery', [1, MANY], 'v…', 'text escaped for a URL query', (args) => checkedText(escapeUrl(sprint(args)))),
];
