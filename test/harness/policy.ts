/** A policy body from configuration texts, through the product's own loader and compiler. */

import type { Problem } from '../../core/base/problem.ts';
import { compileEntry, finishBody } from '../../core/config/compile.ts';
import { loadTree } from '../../core/config/load.ts';
import { type Body, bodySchema } from '../../core/policy/body.ts';

export interface CompiledPolicy {
  readonly body: Body;
  readonly errors: readonly Problem[];
}

/** @param modules texts of modules by name; @param entry further lines of the entry, such as variables */
export function policyFrom(
  modules: Readonly<Record<string, string>>,
  entry = '',
  more: Readonly<Record<string, string>> = {},
): CompiledPolicy {
  const texts: Record<string, string> = {
    'host.vgo': `match: '*'\nmodules: [${Object.keys(modules).join(', ')}]\n${entry}`,
    ...Object.fromEntries(Object.entries(modules).map(([name, text]) => [`modules/${name}.vgo`, `name: ${name}\n${text}`])),
    ...more,
  };
  const tree = new Map(Object.entries(texts).map(([path, text]) => [path, { path, bytes: Buffer.from(text), mode: '0644' as const }]));
  const { config, problems } = loadTree(tree);
  const compiled = compileEntry(config, config.entries[0]!);
  const errors = [...problems, ...compiled.problems].filter(({ severity }) => severity === 'error');
  const body = finishBody(compiled, { release: 1, version: '20260316T140000Z', secretsEpoch: 1 });
  // over the wire it is JSON
  return { body: bodySchema.parse(JSON.parse(JSON.stringify(body))), errors };
}
