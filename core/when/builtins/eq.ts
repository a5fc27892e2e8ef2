/** `eq`: both texts are equal, case included. */
import type { WhenBuiltin } from './builtin.ts';

export const EQ: WhenBuiltin = {
  name: 'eq',
  side: 'either',
  live: false,
  arity: [2, 2],
  usage: 'eq(a, b)',
  doc: 'both texts are equal, case included',
  evaluate: ([a, b]) => a === b,
};
