/** Text to condition (config.md §7.1), with names, arity and constant arguments checked. */
import { didYouMean } from '../base/did-you-mean.ts';
import { TemplateSyntaxError } from '../template/ast.ts';
import { lexAction } from '../template/lexer.ts';
import { parseTemplate } from '../template/parse.ts';
import type { Ast, TextPart, WhenArg } from './ast.ts';
import { WHEN_BUILTINS } from './builtins/index.ts';

export interface WhenProblem {
  readonly rule: 'WHEN-1' | 'WHEN-2' | 'WHEN-3' | 'WHEN-4' | 'TPL-1' | 'TPL-2' | 'TPL-3';
  readonly message: string;
  readonly offset: number;
  readonly hint?: string;
}

export const MAX_WHEN_BYTES = 4096;
export const MAX_WHEN_DEPTH = 64;

class WhenSyntaxError extends Error {
  readonly offset: number;
  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

/** The value of an argument that needs no rendering. */
export function constantOf(arg: WhenArg): string | undefined {
  if (arg.kind === 'number') return String(arg.value);
  let text = '';
  for (const part of arg.parts) {
    if (typeof part !== 'string') return undefined;
    text += part;
  }
  return text;
}

/** `true yes 1` and `false no 0` and nothing; undefined for all else. */
export function parseBool(text: string): boolean | undefined {
  const word = text.trim().toLowerCase();
  if (word === 'true' || word === 'yes' || word === '1') return true;
  if (word === 'false' || word === 'no' || word === '0' || word === '') return false;
  return undefined;
}

/** What is wrong with a call: its arity or its constant arguments. */
export function complainAbout(name: string, args: readonly (string | undefined)[]): string | undefined {
  const builtin = WHEN_BUILTINS.get(name);
  if (builtin === undefined) return `unknown function "${name}"`;
  const [least, most] = builtin.arity;
  if (args.length < least || args.length > most) {
    const wanted = most === Number.POSITIVE_INFINITY ? `at least ${least}` : least === most ? String(least) : `${least} to ${most}`;
    return `${name} takes ${wanted} argument${wanted === '1' ? '' : 's'}, got ${args.length}`;
  }
  const complaint = builtin.check?.(args);
  return complaint === undefined ? undefined : complaint.startsWith(name) ? complaint : `${name}: ${complaint}`;
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\', "'": "'", '"': '"', n: '\n', t: '\t' };

class WhenParser {
  readonly #text: string;
  readonly problems: WhenProblem[] = [];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Ast {
    this.#space();
    if (this.#at >= this.#text.length) return { op: 'bool', value: true };
    const ast = this.#or();
    if (this.#at < this.#text.length) throw new WhenSyntaxError(`unexpected ${JSON.stringify(this.#text[this.#at])}`, this.#at);
    return ast;
  }

  #space(): void {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at++;
  }

  #eat(symbol: string): boolean {
    if (!this.#text.startsWith(symbol, this.#at)) return false;
    this.#at += symbol.length;
    this.#space();
    return true;
  }

  #or(): Ast {
    let left = this.#and();
    while (this.#eat('||')) left = { op: 'or', left, right: this.#and() };
    return left;
  }

  #and(): Ast {
    let left = this.#unary();
    while (this.#eat('&&')) left = { op: 'and', left, right: this.#unary() };
    return left;
  }

  #unary(): Ast {
    if (++this.#depth > MAX_WHEN_DEPTH) throw new WhenSyntaxError(`nests deeper than ${MAX_WHEN_DEPTH}`, this.#at);
    const ast: Ast = this.#eat('!') ? { op: 'not', of: this.#unary() } : this.#primary();
    this.#depth--;
    return ast;
  }

  #primary(): Ast {
    const start = this.#at;
    if (this.#eat('(')) {
      const inner = this.#or();
      if (!this.#eat(')')) throw new WhenSyntaxError('")" expected', this.#at);
      return inner;
    }
    if (this.#text.startsWith('{{', start)) {
      const action = this.#action();
      this.#space();
      return { op: 'action', action };
    }
    const name = /^[A-Za-z_][A-Za-z0-9_]*/.exec(this.#text.slice(start))?.[0];
    if (name === undefined)
      throw new WhenSyntaxError(start >= this.#text.length ? 'unexpected end' : `unexpected ${JSON.stringify(this.#text[start])}`, start);
    this.#at += name.length;
    this.#space();
    const called = this.#text[this.#at] === '(';
    const word = name.toLowerCase();
    if (!called && (word === 'true' || word === 'yes')) return { op: 'bool', value: true };
    if (!called && (word === 'false' || word === 'no')) return { op: 'bool', value: false };
    const args = called ? this.#args() : [];
    this.#checkCall(name, args, start);
    return { op: 'call', name, args };
  }

  #checkCall(name: string, args: readonly WhenArg[], offset: number): void {
    const complaint = complainAbout(name, args.map(constantOf));
    if (complaint === undefined) return;
    if (WHEN_BUILTINS.has(name)) {
      this.problems.push({ rule: 'WHEN-3', message: complaint, offset });
      return;
    }
    const hint = didYouMean(name, WHEN_BUILTINS.keys());
    this.problems.push({ rule: 'WHEN-2', message: complaint, offset, ...(hint === undefined ? {} : { hint }) });
  }

  #args(): WhenArg[] {
    this.#eat('(');
    const args: WhenArg[] = [];
    if (this.#eat(')')) return args;
    do args.push(this.#arg());
    while (this.#eat(','));
    if (!this.#eat(')')) throw new WhenSyntaxError('"," or ")" expected', this.#at);
    return args;
  }

  #arg(): WhenArg {
    const quote = this.#text[this.#at];
    if (quote === "'" || quote === '"') return this.#string(quote);
    const digits = /^-?\d+(\.\d+)?/.exec(this.#text.slice(this.#at))?.[0];
    if (digits === undefined) throw new WhenSyntaxError('an argument in quotes or a number expected', this.#at);
    this.#at += digits.length;
    this.#space();
    // 22.10 is a version, not 22.1: what a number cannot hold stays text
    return String(Number(digits)) === digits ? { kind: 'number', value: Number(digits) } : { kind: 'text', parts: [digits] };
  }

  #string(quote: string): WhenArg {
    const start = this.#at;
    const parts: TextPart[] = [];
    let literal = '';
    this.#at++;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined) throw new WhenSyntaxError('unterminated string', start);
      if (char === quote) break;
      if (this.#text.startsWith('{{', this.#at)) {
        if (literal !== '') parts.push(literal);
        literal = '';
        parts.push({ action: this.#action() });
      } else if (char === '\\') {
        const escaped = this.#text[this.#at + 1] ?? '';
        if (!Object.hasOwn(ESCAPES, escaped)) throw new WhenSyntaxError(`unknown escape "\\${escaped}"`, this.#at);
        literal += ESCAPES[escaped];
        this.#at += 2;
      } else {
        literal += char;
        this.#at++;
      }
    }
    this.#at++;
    this.#space();
    if (literal !== '' || parts.length === 0) parts.push(literal);
    return { kind: 'text', parts };
  }

  /** The text between the braces; its own faults are TPL problems. */
  #action(): string {
    const start = this.#at;
    let end: number;
    try {
      end = lexAction(this.#text, start).span.end;
    } catch (error) {
      if (error instanceof TemplateSyntaxError) this.problems.push(error.problem);
      throw error;
    }
    const source = this.#text.slice(start, end);
    for (const problem of parseTemplate(source, 'interpolation').problems)
      this.problems.push({ ...problem, offset: problem.offset + start });
    this.#at = end;
    return source.slice(2, -2);
  }
}

/** A condition, or why there is none. An empty text is true. */
export function parseWhen(text: string): { ast: Ast | undefined; problems: readonly WhenProblem[] } {
  if (Buffer.byteLength(text) > MAX_WHEN_BYTES)
    return { ast: undefined, problems: [{ rule: 'WHEN-1', message: `a condition is at most ${MAX_WHEN_BYTES} bytes`, offset: 0 }] };
  const parser = new WhenParser(text);
  try {
    const ast = parser.parse();
    return { ast: parser.problems.length === 0 ? ast : undefined, problems: parser.problems };
  } catch (error) {
    if (error instanceof WhenSyntaxError)
      return { ast: undefined, problems: [...parser.problems, { rule: 'WHEN-1', message: error.message, offset: error.offset }] };
    if (error instanceof TemplateSyntaxError) return { ast: undefined, problems: parser.problems };
    throw error;
  }
}
