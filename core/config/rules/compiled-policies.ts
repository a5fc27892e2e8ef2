/** What compiling found, entry by entry: references, cycles, conditions, templates, variables, loops. */
import type { Rule } from './rule.ts';

export const compiledPolicies: Rule = { name: 'compiled-policies', check: ({ compiled }) => compiled.flatMap((entry) => entry.problems) };
