/** Loads, compiles and checks a tree: the one path for server, command line and tests. */
import { formatLocation, type Problem } from '../base/problem.ts';
import { type CompiledEntry, compileEntry } from './compile.ts';
import { loadTree } from './load.ts';
import { DANGEROUS_RULES } from './rules/idempotency.ts';
import { RULES } from './rules/index.ts';
import type { RuleContext } from './rules/rule.ts';
import type { ConfigSnapshot } from './snapshot.ts';
import type { SourceTree } from './source.ts';

export interface ValidatedTree {
  readonly config: ConfigSnapshot;
  readonly compiled: readonly CompiledEntry[];
  readonly problems: readonly Problem[];
}

/** One finding that several entries show is told once, with the first entry. */
function withoutRepeats(problems: readonly Problem[]): readonly Problem[] {
  const seen = new Set<string>();
  return problems.filter((problem) => {
    const key = [problem.rule, formatLocation(problem.at), problem.message, problem.module, problem.resource].join('\0');
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

const ORDER = { error: 0, warning: 1, info: 2 } as const;

function inReadingOrder(a: Problem, b: Problem): number {
  if (a.at === undefined || b.at === undefined) return (a.at === undefined ? 0 : 1) - (b.at === undefined ? 0 : 1);
  if (a.at.file !== b.at.file) return a.at.file < b.at.file ? -1 : 1;
  return a.at.line - b.at.line || a.at.column - b.at.column || ORDER[a.severity] - ORDER[b.severity];
}

/** Runs every rule over compiled entries; findings in reading order, each once. */
export async function validateCompiled(
  config: ConfigSnapshot,
  compiled: readonly CompiledEntry[],
  context: RuleContext = {},
): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  for (const rule of RULES) {
    context.signal?.throwIfAborted();
    problems.push(...(await rule.check({ config, compiled }, context)));
  }
  return withoutRepeats(problems).toSorted(inReadingOrder);
}

/** Everything there is to say about a tree. */
export async function validateTree(tree: SourceTree, context: RuleContext = {}): Promise<ValidatedTree> {
  const { config, problems } = loadTree(tree);
  const compiled = config.entries.map((entry) => compileEntry(config, entry));
  const found = await validateCompiled(config, compiled, context);
  return { config, compiled, problems: withoutRepeats([...problems, ...found]).toSorted(inReadingOrder) };
}

export function hasErrors(problems: readonly Problem[]): boolean {
  return problems.some(({ severity }) => severity === 'error');
}

/** What `--dangerous` does: idempotency errors that may be lowered become warnings, nothing else. */
export function lowerDangerous(problems: readonly Problem[]): readonly Problem[] {
  return problems.map((problem) =>
    DANGEROUS_RULES.has(problem.rule) && problem.severity === 'error' ? { ...problem, severity: 'warning' } : problem,
  );
}
