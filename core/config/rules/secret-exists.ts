/** SEC-1: every reference of every entry must exist at the provider (config.md §9.1). */
import type { Problem } from '../../base/problem.ts';
import type { Rule } from './rule.ts';

const PARALLEL = 16;

export const secretExists: Rule = {
  name: 'secret-exists',
  async check({ compiled }, { secretExists: exists, signal }) {
    if (exists === undefined) return [];
    const users = new Map<string, (typeof compiled)[number]>();
    for (const entry of compiled) for (const ref of entry.body.secret_refs) if (!users.has(ref)) users.set(ref, entry);
    const waiting = [...users];
    const problems: Problem[] = [];
    const worker = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        signal?.throwIfAborted();
        const [ref, { entry }] = next;
        if (!(await exists(ref.split('#', 1)[0]!)))
          problems.push({ rule: 'SEC-1', severity: 'error', message: `there is no secret "${ref}"`, at: entry.at, entry: entry.id });
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
    return problems.sort((a, b) => (a.message < b.message ? -1 : 1));
  },
};
