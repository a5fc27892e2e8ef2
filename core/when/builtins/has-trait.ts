/** `has_trait`: a trait exists, or has a value. */
import { traitAt } from '../../traits/path.ts';
import { sameText } from '../facts.ts';
import type { WhenBuiltin } from './builtin.ts';

export const HAS_TRAIT: WhenBuiltin = {
  name: 'has_trait',
  side: 'agent',
  live: false,
  arity: [1, 2],
  usage: "has_trait('network.ip_addresses', '10.0.1.5')",
  doc: 'the trait exists and is not false, 0 or empty; with a value: its text is the value, or the list contains it; never an error',
  evaluate: ([path, wanted], { traits }) => {
    const value = traitAt(traits, path!);
    if (wanted !== undefined) return Array.isArray(value) ? value.some((each) => sameText(each, wanted)) : sameText(value, wanted);
    if (value === undefined || value === null || value === false || value === 0 || value === '') return false;
    return typeof value !== 'object' || Object.keys(value).length > 0;
  },
};
