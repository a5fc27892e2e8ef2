/** VAR-2, VAR-3, VAR-5: markers in values, defaults that differ, variables nobody reads (config.md §4). */
import { canonicalJson } from '../../base/json.ts';
import type { Problem } from '../../base/problem.ts';
import type { CompiledEntry } from '../compile.ts';
import type { ConfigSnapshot, Vars } from '../snapshot.ts';
import { someText } from '../values.ts';
import type { Rule } from './rule.ts';

function* declaredVars(config: ConfigSnapshot): Generator<Vars> {
  yield* config.varFiles.values();
  for (const role of config.roles.values()) yield role.vars;
  for (const { common, environments } of config.directories.values()) {
    if (common !== undefined) yield common.vars;
    for (const block of common?.varsWhen ?? []) yield block.vars;
    for (const block of environments.values()) yield block.vars;
  }
  for (const owner of [...config.modules.values(), ...config.entries]) {
    yield owner.vars;
    for (const { value } of owner.environmentOverrides.values()) yield value;
    for (const block of owner.varsWhen) yield block.vars;
  }
}

function differing({ entry, variables, inheritance }: CompiledEntry): Problem[] {
  const problems: Problem[] = [];
  const first = new Map<string, string>();
  for (const { module } of inheritance.modules) {
    for (const [name, binding] of variables.own.get(module.name) ?? []) {
      if (variables.shared.has(name) || binding.value === null) continue;
      const other = first.get(name);
      if (other === undefined) first.set(name, module.name);
      else if (canonicalJson(variables.own.get(other)!.get(name)!.value) !== canonicalJson(binding.value))
        problems.push({
          rule: 'VAR-3',
          severity: 'warning',
          message: `modules "${other}" and "${module.name}" give "${name}" different defaults`,
          at: binding.at,
          module: module.name,
          entry: entry.id,
        });
    }
  }
  return problems;
}

export const variables: Rule = {
  name: 'variables',
  check({ config, compiled }) {
    const problems: Problem[] = [];
    const read = new Set<string>();
    let readsAll = false;
    for (const { linked } of compiled)
      for (const { folded } of linked.modules)
        for (const { use } of folded.prepared.reads) {
          if (use.root === 'Vars' && use.path[0] !== undefined) read.add(use.path[0]);
          else if (use.root === 'Vars' || (use.root === '(all)' && use.path.length === 0)) readsAll = true;
        }
    for (const vars of declaredVars(config))
      for (const [name, { value, at }] of vars) {
        if (someText(value, (text) => text.includes('{{')))
          problems.push({
            rule: 'VAR-2',
            severity: 'warning',
            message: `"${name}" holds "{{": values are data and are never rendered`,
            at,
          });
        if (!readsAll && !read.has(name))
          problems.push({ rule: 'VAR-5', severity: 'info', message: `nobody reads the variable "${name}"`, at });
      }
    return [...problems, ...compiled.flatMap(differing)];
  },
};
