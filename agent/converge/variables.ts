/** Conditional variables: evaluated once a run, before any template (config.md §4.4). */
import { messageOf } from '../../core/base/errors.ts';
import type { Body, BodyModule, VarsWhen } from '../../core/policy/body.ts';
import { evaluateWhen } from '../../core/when/evaluate.ts';
import type { WhenFacts } from '../../core/when/facts.ts';
import { type Attributes, layeredVars, type ModuleScope, scopeOf } from './render.ts';

export interface RunVariables {
  readonly scopes: ReadonlyMap<string, ModuleScope>;
  /** blocks that could not be decided, as texts */
  readonly errors: readonly string[];
}

type FactsOf = (scope: ModuleScope) => WhenFacts;

async function holding(blocks: readonly VarsWhen[], scope: ModuleScope, factsOf: FactsOf, errors: string[]): Promise<Attributes[]> {
  const layers: Attributes[] = [];
  for (const { when, vars } of blocks) {
    try {
      if (when === undefined || (await evaluateWhen(when.ast, factsOf(scope)))) layers.push(vars);
    } catch (thrown) {
      errors.push(`${scope.module === '' ? 'entry' : scope.module}: vars_when "${when?.source ?? ''}": ${messageOf(thrown)}`);
    }
  }
  return layers;
}

export async function variablesOf(body: Body, modules: readonly BodyModule[], factsOf: FactsOf): Promise<RunVariables> {
  const errors: string[] = [];
  const entry = await holding(body.vars_when, { module: '', vars: body.vars }, factsOf, errors);
  const scopes = new Map<string, ModuleScope>();
  for (const module of modules) {
    const base = layeredVars(body.vars, module.vars);
    const own = await holding(module.vars_when, scopeOf(module, base), factsOf, errors);
    scopes.set(module.name, scopeOf(module, layeredVars(base, ...own, ...entry)));
  }
  return { scopes, errors };
}
