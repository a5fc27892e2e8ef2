/** GUARD-1..6 on everything that is certain at publish (config.md §10.3); the agent repeats them on rendered values. */
import type { Problem } from '../../base/problem.ts';
import { type GuardFinding, guardrailFindings } from '../../policy/guardrails.ts';
import { PROTECTED } from '../../policy/protected.ts';
import type { Rule } from './rule.ts';
import { variantsOfEntry } from './variants.ts';

export const selfProtection: Rule = {
  name: 'self-protection',
  check({ compiled }, { protectedSet }) {
    const set = protectedSet ?? PROTECTED;
    const judged = new WeakMap<object, readonly GuardFinding[]>();
    const problems: Problem[] = [];
    for (const entry of compiled) {
      for (const { module, instance, attributes } of variantsOfEntry(entry)) {
        let findings = judged.get(attributes);
        if (findings === undefined) {
          const { type, revert } = instance.declaration;
          findings = guardrailFindings({ type, attributes, revert }, set);
          judged.set(attributes, findings);
        }
        for (const { rule, message } of findings)
          problems.push({
            rule,
            severity: 'error',
            message,
            at: instance.declaration.at,
            module,
            resource: instance.name,
            entry: entry.entry.id,
          });
      }
    }
    return problems;
  },
};
