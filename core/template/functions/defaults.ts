/** Functions that deal with what may be missing. */
import { fail, isTrue, stringOf } from '../value.ts';
import { inGroup, MANY, type TemplateFunction } from './function.ts';

const define = inGroup('defaults');
const acceptsUndefined = { acceptsUndefined: true };

export const DEFAULTS: readonly TemplateFunction[] = [
  define(
    'coalesce',
    [1, MANY],
    'a b…',
    'the first true argument, else the last',
    (args) => args.find((each) => isTrue(each)) ?? args.at(-1),
    acceptsUndefined,
  ),
  define(
    'default',
    [2, 2],
    'd v',
    'd when v is false, else v',
    ([fallback, value]) => (isTrue(value) ? value : fallback),
    acceptsUndefined,
  ),
  define('empty', [1, 1], 'v', 'true when v is false', ([value]) => !isTrue(value), acceptsUndefined),
  define(
    'required',
    [2, 2],
    'msg v',
    'v, or an error with the message when v is false',
    ([message, value]) => (isTrue(value) ? value : fail(stringOf(message, 'required'))),
    acceptsUndefined,
  ),
  define('ternary', [3, 3], 'a b cond', 'a when cond is true, else b', ([a, b, condition]) => (isTrue(condition) ? a : b)),
];
