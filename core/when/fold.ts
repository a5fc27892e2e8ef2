/** The server's half of a condition (config.md §7.5): what is known at publish is worked out, the rest is shipped. */
import { CodedError } from '../base/errors.ts';
import type { Ast, Cond, TextPart, WhenArg } from './ast.ts';
import { formatWhen } from './format.ts';
import { complainAbout, constantOf, parseBool, type WhenProblem } from './parse.ts';

export interface FoldContext {
  readonly environment: string | null;
  /** the text between the braces to what it prints; undefined = needs the agent */
  renderStatic(action: string): string | undefined;
  /** false where `changed` has no meaning, as in `vars_when` */
  readonly changedAllowed: boolean;
}

export interface FoldedWhen {
  readonly kind: 'true' | 'false' | 'rest';
  /** only with `rest` */
  readonly cond?: Cond;
  readonly triggerOnly: boolean;
  readonly problems: readonly WhenProblem[];
}

const TRUE: Ast = { op: 'bool', value: true };
const FALSE: Ast = { op: 'bool', value: false };

function isBool(ast: Ast, value: boolean): boolean {
  return ast.op === 'bool' && ast.value === value;
}

class Folder {
  readonly problems: WhenProblem[] = [];
  readonly #context: FoldContext;
  readonly #source: string;

  constructor(context: FoldContext, source: string) {
    this.#context = context;
    this.#source = source;
  }

  problem(rule: WhenProblem['rule'], message: string, near: string): void {
    this.problems.push({ rule, message, offset: Math.max(0, this.#source.indexOf(near)) });
  }

  fold(ast: Ast): Ast {
    switch (ast.op) {
      case 'bool':
        return ast;
      case 'not': {
        const of = this.fold(ast.of);
        return of.op === 'bool' ? { op: 'bool', value: !of.value } : { op: 'not', of };
      }
      case 'and':
      case 'or':
        return joined(ast.op, this.fold(ast.left), this.fold(ast.right));
      case 'action':
        return this.#action(ast.action);
      case 'call':
        return this.#call(ast.name, ast.args);
    }
  }

  #render(action: string): string | undefined {
    try {
      return this.#context.renderStatic(action);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.problem('WHEN-3', error.message, action);
      return undefined;
    }
  }

  #action(action: string): Ast {
    const text = this.#render(action);
    if (text === undefined) return { op: 'action', action };
    const value = parseBool(text);
    if (value === undefined) this.problem('WHEN-3', `{{${action}}} gives "${text.slice(0, 60)}", which is neither true nor false`, action);
    return value === true ? TRUE : FALSE;
  }

  #call(name: string, args: readonly WhenArg[]): Ast {
    if (name === 'changed') {
      this.problem(
        'WHEN-4',
        this.#context.changedAllowed ? 'changed is only allowed joined with && at the top' : 'changed is not allowed here',
        'changed',
      );
      return FALSE;
    }
    const known = args.map((arg) => this.#arg(arg));
    const constants = known.map(constantOf);
    const complaint = complainAbout(name, constants);
    if (complaint !== undefined) this.problem('WHEN-3', complaint, name);
    const texts = constants.filter((each) => each !== undefined);
    if (texts.length === constants.length) {
      const environment = this.#context.environment?.toLowerCase();
      if (name === 'environment') return texts.some((each) => each.toLowerCase() === environment) ? TRUE : FALSE;
      if (name === 'eq') return texts[0] === texts[1] ? TRUE : FALSE;
    }
    return { op: 'call', name, args: known };
  }

  #arg(arg: WhenArg): WhenArg {
    if (arg.kind === 'number') return arg;
    const parts: TextPart[] = [];
    for (const part of arg.parts) {
      const text = typeof part === 'string' ? part : this.#render(part.action);
      const last = parts.at(-1);
      if (text === undefined) parts.push(part);
      else if (typeof last === 'string') parts[parts.length - 1] = last + text;
      else parts.push(text);
    }
    return { kind: 'text', parts };
  }
}

function joined(op: 'and' | 'or', left: Ast, right: Ast): Ast {
  const decides = op === 'or';
  if (isBool(left, decides) || isBool(right, decides)) return { op: 'bool', value: decides };
  if (left.op === 'bool') return right;
  return right.op === 'bool' ? left : { op, left, right };
}

function conjuncts(ast: Ast): readonly Ast[] {
  const list: Ast[] = [];
  const waiting: Ast[] = [ast];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (next.op === 'and') waiting.push(next.right, next.left);
    else list.push(next);
  }
  return list;
}

/** @param source the author's text, which is shipped along */
export function foldWhen(ast: Ast, source: string, context: FoldContext): FoldedWhen {
  const all = conjuncts(ast);
  const rest = context.changedAllowed ? all.filter((each) => each.op !== 'call' || each.name !== 'changed') : all;
  const triggerOnly = rest.length < all.length;
  const folder = new Folder(context, source);
  const folded = (triggerOnly ? rest.reduce<Ast>((left, right) => joined('and', left, right), TRUE) : ast) as Ast;
  const result = folder.fold(folded);
  const { problems } = folder;
  if (result.op === 'bool') return { kind: result.value ? 'true' : 'false', triggerOnly, problems };
  return { kind: 'rest', cond: { ast: result, source, resolved: formatWhen(result) }, triggerOnly, problems };
}

/** Who decides the expression, for the trace. */
export function whenSide(ast: Ast, folded: FoldedWhen): 'server' | 'agent' | 'split' {
  if (folded.cond === undefined) return 'server';
  return folded.cond.resolved === formatWhen(ast) ? 'agent' : 'split';
}
