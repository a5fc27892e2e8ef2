/** Configuration trees written in tests as maps of path → text. */
import type { Problem } from '../../core/base/problem.ts';
import { type CompiledEntry, compileEntry } from '../../core/config/compile.ts';
import { loadTree } from '../../core/config/load.ts';
import { entryFor } from '../../core/config/match.ts';
import type { RuleContext } from '../../core/config/rules/rule.ts';
import type { SourceTree } from '../../core/config/source.ts';
import { validateTree } from '../../core/config/validate.ts';

export type Files = Readonly<Record<string, string | Uint8Array>>;

export function treeOf(files: Files): SourceTree {
  return new Map(
    Object.entries(files).map(([path, text]) => [
      path,
      { path, bytes: typeof text === 'string' ? Buffer.from(text) : text, mode: '0644' as const },
    ]),
  );
}

/** All findings of a tree; every secret exists unless the context says otherwise. */
export async function findings(files: Files, context: RuleContext = {}): Promise<readonly Problem[]> {
  return (await validateTree(treeOf(files), { secretExists: async () => true, ...context })).problems;
}

/** Rule ids of errors and warnings, sorted, each once. */
export async function rules(files: Files, context: RuleContext = {}): Promise<readonly string[]> {
  const found = (await findings(files, context)).filter(({ severity }) => severity !== 'info').map(({ rule }) => rule);
  return [...new Set(found)].sort();
}

/** The compiled entry of a host. */
export function compileFor(files: Files, host: string, environment?: string): CompiledEntry {
  const { config } = loadTree(treeOf(files));
  const entry = entryFor(config, host);
  if (entry === undefined) throw new Error(`no entry for ${host}`);
  return compileEntry(config, entry, environment);
}

/** A tree of one module on one entry that matches everything. */
export function moduleTree(resources: string, more: Files = {}): Files {
  const text = resources.trimEnd().replaceAll(/^/gm, '  ');
  return { 'modules/m.vgo': `name: m\nresources:\n${text}\n`, 'all.vgo': 'match: "*"\nmodules: [m]\n', ...more };
}
