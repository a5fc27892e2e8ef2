/** What a parsed template is: the tree that rendering, use analysis and substitution walk. */

export type Operand =
  | { readonly kind: 'dot' }
  | { readonly kind: 'nil' }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'number'; readonly value: number; readonly float: boolean }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'field'; readonly path: readonly string[] }
  | { readonly kind: 'variable'; readonly name: string; readonly path: readonly string[] }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'pipe'; readonly pipe: Pipe }
  | { readonly kind: 'chain'; readonly of: Operand; readonly path: readonly string[] };

export interface Command {
  readonly operands: readonly Operand[];
  readonly offset: number;
}

export interface Pipe {
  /** `$x :=` or, in a range, `$i, $v :=` */
  readonly variables: readonly string[];
  /** `=` instead of `:=` */
  readonly assigns: boolean;
  readonly commands: readonly Command[];
  readonly offset: number;
}

/** Where an action stands in the text, braces included, and which white space around it the trim markers eat. */
export interface Span {
  readonly start: number;
  readonly end: number;
  readonly trimBefore: boolean;
  readonly trimAfter: boolean;
}

export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly pipe: Pipe; readonly span: Span }
  | { readonly kind: 'if' | 'with' | 'range'; readonly pipe: Pipe; readonly body: readonly Node[]; readonly otherwise: readonly Node[] }
  | { readonly kind: 'template'; readonly name: string; readonly pipe: Pipe | undefined; readonly offset: number }
  | { readonly kind: 'break' }
  | { readonly kind: 'continue' };

export interface Template {
  readonly text: string;
  readonly nodes: readonly Node[];
  /** what `define` and `block` named */
  readonly defined: ReadonlyMap<string, readonly Node[]>;
}

/** `interpolation`: one pipeline an action, no keywords, no variables (config.md §8.2); `content`: the whole language. */
export type TemplateMode = 'content' | 'interpolation';

export interface TemplateProblem {
  readonly rule: 'TPL-1' | 'TPL-2' | 'TPL-3';
  readonly message: string;
  readonly offset: number;
  readonly hint?: string;
}

/** How parsing gives up inside; never leaves parseTemplate. */
export class TemplateSyntaxError extends Error {
  readonly problem: TemplateProblem;
  constructor(rule: TemplateProblem['rule'], message: string, offset: number, hint?: string) {
    super(message);
    this.problem = hint === undefined ? { rule, message, offset } : { rule, message, offset, hint };
  }
}
