/** MATCH-1, MATCH-2: malformed and unreachable patterns (config.md §2). */
import { matchProblems } from '../match.ts';
import type { Rule } from './rule.ts';

export const matching: Rule = { name: 'matching', check: ({ config }) => matchProblems(config) };
