/** All publish rules, sorted by name. */
import { compiledPolicies } from './compiled-policies.ts';
import { idempotency } from './idempotency.ts';
import { library } from './library.ts';
import { matching } from './matching.ts';
import type { Rule } from './rule.ts';
import { secretExists } from './secret-exists.ts';
import { selfProtection } from './self-protection.ts';
import { variables } from './variables.ts';
import { waivers } from './waivers.ts';

export const RULES: readonly Rule[] = [compiledPolicies, idempotency, library, matching, secretExists, selfProtection, variables, waivers];
