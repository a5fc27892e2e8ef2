/** Templates and conditions as the compiler needs them: parsed once, with what they read. */
import type { Json } from '../base/json.ts';
import type { Problem, SourceLocation } from '../base/problem.ts';
import { SECRET_MARK } from '../policy/body.ts';
import type { Template } from '../template/ast.ts';
import { parseTemplate, type TemplateMode } from '../template/parse.ts';
import { renderTemplate } from '../template/render.ts';
import { type TemplateUse, templateUses } from '../template/uses.ts';
import type { Ast } from '../when/ast.ts';
import { parseWhen } from '../when/parse.ts';
import { holdsReference } from './secrets.ts';
import type { Located } from './values.ts';

export interface ParsedText {
  readonly template: Template | undefined;
  readonly uses: readonly TemplateUse[];
  readonly faults: readonly {
    readonly rule: string;
    readonly message: string;
    readonly hint?: string | undefined;
    readonly offset?: number | undefined;
  }[];
  /** only texts and plain actions: substitution by text is safe */
  readonly flat: boolean;
}

const NOTHING: ParsedText = { template: undefined, uses: [], faults: [], flat: true };

/** A text without actions costs nothing. */
export function parseText(text: string, mode: TemplateMode): ParsedText {
  if (!text.includes('{{')) return NOTHING;
  const { template, problems } = parseTemplate(text, mode);
  if (template === undefined) return { template, uses: [], faults: problems, flat: true };
  const flat = template.defined.size === 0 && template.nodes.every((node) => node.kind === 'text' || node.kind === 'action');
  return { template, uses: templateUses(template), faults: problems, flat };
}

/** One action of a `when:` text, without its braces. */
export interface WhenAction {
  readonly action: string;
  readonly parsed: ParsedText;
}

export interface ParsedWhen {
  readonly source: Located<string>;
  readonly ast: Ast | undefined;
  readonly actions: ReadonlyMap<string, WhenAction>;
  readonly uses: readonly TemplateUse[];
  readonly problems: readonly Problem[];
}

function actionsOf(ast: Ast, found: Set<string>): void {
  if (ast.op === 'action') found.add(ast.action);
  else if (ast.op === 'not') actionsOf(ast.of, found);
  else if (ast.op === 'and' || ast.op === 'or') {
    actionsOf(ast.left, found);
    actionsOf(ast.right, found);
  } else if (ast.op === 'call') {
    for (const arg of ast.args) if (arg.kind === 'text') for (const part of arg.parts) if (typeof part !== 'string') found.add(part.action);
  }
}

/** `when:` text → tree, its actions and every fault of both. */
export function parseCondition(source: Located<string>): ParsedWhen {
  const { ast, problems: faults } = parseWhen(source.value);
  const problems: Problem[] = faults.map((fault) => problemAt(fault, source.at));
  const texts = new Set<string>();
  if (ast !== undefined) actionsOf(ast, texts);
  const actions = new Map<string, WhenAction>();
  for (const action of texts) {
    const parsed = parseText(`{{${action}}}`, 'interpolation');
    actions.set(action, { action, parsed });
  }
  if (holdsReference(source.value))
    problems.push({ rule: 'SEC-4', severity: 'error', message: 'a secret cannot be part of "when"', at: source.at });
  return { source, ast, actions, uses: [...actions.values()].flatMap(({ parsed }) => parsed.uses), problems };
}

export function problemAt(fault: { rule: string; message: string; hint?: string | undefined }, at: SourceLocation): Problem {
  return { rule: fault.rule, severity: 'error', message: fault.message, at, ...(fault.hint === undefined ? {} : { hint: fault.hint }) };
}

/** What the server may put in for names: variables that are known for certain, and the element of a foreach. */
export interface StaticData {
  /** undefined: not known to the server (conditional or secret) */
  variable(name: string): Json | undefined;
  isKnown(name: string): boolean;
  readonly element: { readonly item: Json; readonly index: number } | undefined;
}

/** Can the server render it? Only `.Vars` names it knows, and the element of a foreach. */
export function isStatic(uses: readonly TemplateUse[], data: StaticData): boolean {
  return uses.every((use) => {
    if (use.root === 'Vars') return use.path[0] !== undefined && data.isKnown(use.path[0]);
    return data.element !== undefined && (use.root === 'Item' || use.root === 'Each' || use.root === 'Index');
  });
}

/** The text of a template the server can render; undefined when it cannot, or when rendering fails (the agent will say so). */
export function renderStatic(parsed: ParsedText, data: StaticData): string | undefined {
  if (parsed.template === undefined || !isStatic(parsed.uses, data)) return undefined;
  const vars: Record<string, Json> = Object.create(null) as Record<string, Json>;
  for (const use of parsed.uses) {
    const name = use.root === 'Vars' ? use.path[0] : undefined;
    const value = name === undefined ? undefined : data.variable(name);
    if (name !== undefined && value !== undefined) vars[name] = value;
  }
  const element = data.element;
  const root = element === undefined ? { Vars: vars } : { Vars: vars, Item: element.item, Each: element.item, Index: element.index };
  try {
    return renderTemplate(parsed.template, root);
  } catch {
    // an evaluation error belongs to the one resource and is reported by the agent (config.md §5.4)
    return undefined;
  }
}

/** Does the text hold a marker of a secret? */
export function holdsMarker(text: string): boolean {
  return text.includes(SECRET_MARK);
}
