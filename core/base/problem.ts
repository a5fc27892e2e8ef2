/** A finding in configuration or settings: a value, not an error. */

/** `file` is relative to the tree root with `/`; line and column start at 1. */
export interface SourceLocation {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export type Severity = 'error' | 'warning' | 'info';

/** One finding of validation (config.md §10): `rule` is a rule id such as `YAML-1`. */
export interface Problem {
  readonly rule: string;
  readonly severity: Severity;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly at?: SourceLocation | undefined;
  readonly module?: string | undefined;
  readonly resource?: string | undefined;
  /** `file#index` of the entry whose compiled policy shows it */
  readonly entry?: string | undefined;
}

/** `file:line:col` or an empty text. */
export function formatLocation(at: SourceLocation | undefined): string {
  return at === undefined ? '' : `${at.file}:${at.line}:${at.column}`;
}

/** `file:line:col: error RULE message` (config.md §19). */
export function formatProblem(problem: Problem): string {
  const where = problem.at === undefined ? '' : `${formatLocation(problem.at)}: `;
  const hint = problem.hint === undefined ? '' : ` (${problem.hint})`;
  return `${where}${problem.severity} ${problem.rule} ${problem.message}${hint}`;
}
