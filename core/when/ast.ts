/** What a parsed `when:` is (config.md §7.1); travels in the bundle body as JSON. */

/** A string argument is a list of literal texts and interpolation actions (the text between the braces). */
export type TextPart = string | { readonly action: string };

export type WhenArg = { readonly kind: 'text'; readonly parts: readonly TextPart[] } | { readonly kind: 'number'; readonly value: number };

export type Ast =
  | { readonly op: 'or' | 'and'; readonly left: Ast; readonly right: Ast }
  | { readonly op: 'not'; readonly of: Ast }
  | { readonly op: 'bool'; readonly value: boolean }
  | { readonly op: 'action'; readonly action: string }
  | { readonly op: 'call'; readonly name: string; readonly args: readonly WhenArg[] };

/** A condition as it is shipped: what is left for the agent, the author's text, and the text with the server's half resolved. */
export interface Cond {
  readonly ast: Ast;
  readonly source: string;
  readonly resolved: string;
}
