/** All template functions, sorted by name. */
import { BUILTINS } from './builtins.ts';
import { COLLECTIONS } from './collections.ts';
import { DEFAULTS } from './defaults.ts';
import { ENCODINGS } from './encodings.ts';
import type { TemplateFunction } from './function.ts';
import { NUMBERS } from './numbers.ts';
import { TEXT } from './text.ts';

export const TEMPLATE_FUNCTIONS: ReadonlyMap<string, TemplateFunction> = new Map(
  [...BUILTINS, ...COLLECTIONS, ...DEFAULTS, ...ENCODINGS, ...NUMBERS, ...TEXT]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((each) => [each.name, each]),
);
