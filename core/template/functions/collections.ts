/** Functions on lists and maps. */
import { printValue } from '../print.ts';
import {
  checkedText,
  compareBytes,
  fail,
  hasMember,
  kindOf,
  listOf,
  Missing,
  mapOf,
  member,
  numberOf,
  sortedKeys,
  stringOf,
  type Value,
} from '../value.ts';
import { inGroup, MANY, type TemplateFunction } from './function.ts';

const define = inGroup('lists and maps');

/** A text that is equal for equal scalars, so that membership takes no quadratic time. */
function scalarKey(value: Value, what: string): string {
  const kind = kindOf(value);
  if (kind === 'list' || kind === 'map') return fail(`${what}: lists and maps cannot be compared`);
  if (kind === 'int' || kind === 'float') return `number:${numberOf(value)}`;
  return `${kind}:${String(value)}`;
}

function dict(args: readonly Value[]): Value {
  if (args.length % 2 !== 0) return fail('dict: a key has no value');
  const map = new Map<string, Value>();
  for (let i = 0; i < args.length; i += 2) map.set(stringOf(args[i], 'dict'), args[i + 1]);
  return map;
}

function uniq(list: readonly Value[]): Value {
  const seen = new Set<string>();
  return list.filter((each) => {
    const key = scalarKey(each, 'uniq');
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

export const COLLECTIONS: readonly TemplateFunction[] = [
  define('concat', [1, MANY], 'a b…', 'the lists one after another', (args) => args.flatMap((each) => listOf(each, 'concat'))),
  define('dict', [0, MANY], 'k v…', 'a map of the keys and values', dict),
  define('first', [1, 1], 'list', 'the first item', ([list]) => listOf(list, 'first')[0] ?? new Missing('first of an empty list')),
  define('get', [2, 2], 'map k', 'the value under k, undefined when missing', ([map, key]) => {
    const name = stringOf(key, 'get');
    return hasMember(mapOf(map, 'get'), name) ? member(map, name) : new Missing(`key "${name}"`);
  }),
  define('has', [2, 2], 'x list', 'true when the list has the item x', ([item, list]) => {
    const key = scalarKey(item, 'has');
    return listOf(list, 'has').some((each) => kindOf(each) !== 'list' && kindOf(each) !== 'map' && scalarKey(each, 'has') === key);
  }),
  define(
    'hasKey',
    [2, 2],
    'map k',
    'true when the map has the key k',
    ([map, key]) =>
      kindOf(map) === 'undefined' || kindOf(key) === 'undefined' ? false : hasMember(mapOf(map, 'hasKey'), stringOf(key, 'hasKey')),
    {
      acceptsUndefined: true,
    },
  ),
  define('join', [2, 2], 'sep list', 'the items as one text', ([separator, list]) =>
    checkedText(
      listOf(list, 'join')
        .map((each) => printValue(each))
        .join(stringOf(separator, 'join')),
    ),
  ),
  define('keys', [1, 1], 'map', 'the keys in order', ([map]) => sortedKeys(mapOf(map, 'keys'))),
  define('last', [1, 1], 'list', 'the last item', ([list]) => listOf(list, 'last').at(-1) ?? new Missing('last of an empty list')),
  define('list', [0, MANY], 'a b…', 'a list of the arguments', (args) => [...args]),
  define('sortAlpha', [1, 1], 'list', 'the items as text, in byte order', ([list]) =>
    listOf(list, 'sortAlpha')
      .map((each) => printValue(each))
      .sort(compareBytes),
  ),
  define('split', [2, 2], 'sep s', 'the parts of s between the separators', ([separator, text]) =>
    stringOf(text, 'split').split(stringOf(separator, 'split')),
  ),
  define('uniq', [1, 1], 'list', 'every item once, first come', ([list]) => uniq(listOf(list, 'uniq'))),
  define('values', [1, 1], 'map', 'the values in order of their keys', ([map]) =>
    sortedKeys(mapOf(map, 'values')).map((key) => member(map, key)),
  ),
];
