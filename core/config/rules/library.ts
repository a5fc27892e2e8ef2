/** The library as a whole: roles and modules nobody uses (REF-12, REF-13), and what is wrong in those that no entry would show. */
import type { Problem } from '../../base/problem.ts';
import { prepareModule } from '../prepare.ts';
import type { Rule } from './rule.ts';

export const library: Rule = {
  name: 'library',
  check({ config, compiled }) {
    const problems: Problem[] = [];
    const usedModules = new Set(compiled.flatMap(({ inheritance }) => inheritance.modules.map(({ module }) => module.name)));
    const usedRoles = new Set(compiled.flatMap(({ inheritance }) => inheritance.roles.map(({ role }) => role.name)));
    for (const module of config.modules.values()) {
      if (usedModules.has(module.name)) continue;
      problems.push({
        rule: 'REF-13',
        severity: 'info',
        message: `no entry has the module "${module.name}"`,
        at: module.at,
        module: module.name,
      });
      problems.push(...prepareModule(config, module).problems);
    }
    for (const role of config.roles.values()) {
      if (!usedRoles.has(role.name))
        problems.push({ rule: 'REF-12', severity: 'warning', message: `no entry has the role "${role.name}"`, at: role.at });
      for (const include of role.includes) {
        const included = config.roles.get(include.name);
        if (included === undefined)
          problems.push({ rule: 'REF-1', severity: 'error', message: `there is no role "${include.name}"`, at: include.at });
        else if (included.includes.length > 0) {
          const message = `role "${include.name}" has includes of its own; includes go one level deep`;
          problems.push({ rule: 'REF-5', severity: 'error', message, at: include.at });
        }
      }
    }
    return problems;
  },
};
