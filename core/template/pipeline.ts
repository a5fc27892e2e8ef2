/** Reads one pipeline out of an action's tokens: declarations, commands, operands. */
import { didYouMean } from '../base/did-you-mean.ts';
import { type Command, type Operand, type Pipe, TemplateSyntaxError } from './ast.ts';
import { TEMPLATE_FUNCTIONS } from './functions/index.ts';
import type { Token, TokenKind } from './lexer.ts';

const MAX_DEPTH = 100;
export const KEYWORDS: ReadonlySet<string> = new Set([
  'if',
  'range',
  'with',
  'define',
  'template',
  'block',
  'break',
  'continue',
  'else',
  'end',
]);
/** Names of Go that are left out on purpose. */
const REFUSED: ReadonlySet<string> = new Set(['call']);

export class TokenCursor {
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = 0;
  readonly allowVariables: boolean;
  /** innermost last */
  readonly variables: string[];

  constructor(tokens: readonly Token[], variables: string[], allowVariables: boolean) {
    this.#tokens = tokens;
    this.variables = variables;
    this.allowVariables = allowVariables;
  }

  peek(ahead = 0): Token {
    return this.#tokens[Math.min(this.#next + ahead, this.#tokens.length - 1)]!;
  }

  take(): Token {
    const token = this.peek();
    this.#next++;
    return token;
  }

  skipSpace(): Token {
    while (this.peek().kind === 'space') this.#next++;
    return this.peek();
  }

  nest<T>(read: () => T): T {
    if (++this.#depth > MAX_DEPTH) throw new TemplateSyntaxError('TPL-1', `parentheses nest deeper than ${MAX_DEPTH}`, this.peek().offset);
    const result = read();
    this.#depth--;
    return result;
  }
}

function unexpected(token: Token, where: string): TemplateSyntaxError {
  return new TemplateSyntaxError(
    'TPL-1',
    `unexpected ${token.kind === 'end' ? 'end of action' : JSON.stringify(token.text)} in ${where}`,
    token.offset,
  );
}

/** @throws TemplateSyntaxError unless the action ends here */
export function expectEnd(cursor: TokenCursor, where: string): void {
  const token = cursor.skipSpace();
  if (token.kind !== 'end') throw unexpected(token, where);
}

function readNumber(token: Token): Operand {
  const plain = token.text.replaceAll('_', '');
  const digits = plain.replace(/^[+-]/, '');
  const float = !/^0[xXbBoO]/.test(digits) && /[.eE]/.test(digits);
  const octal = /^0[0-7]+$/.test(digits);
  if (!float && /^0[0-9]+$/.test(digits) && !octal)
    throw new TemplateSyntaxError('TPL-1', `illegal number syntax: "${token.text}"`, token.offset);
  const size = Number(octal ? `0o${digits.slice(1)}` : digits);
  const value = plain.startsWith('-') ? -size : size;
  if (!Number.isFinite(value)) throw new TemplateSyntaxError('TPL-1', `illegal number syntax: "${token.text}"`, token.offset);
  if (!float && !Number.isSafeInteger(value))
    throw new TemplateSyntaxError('TPL-1', `integer "${token.text}" is beyond 2^53-1`, token.offset);
  return { kind: 'number', value: value === 0 ? 0 : value, float };
}

function readVariable(cursor: TokenCursor, token: Token): Operand {
  if (!cursor.allowVariables)
    throw new TemplateSyntaxError(
      'TPL-3',
      `variable "${token.text}" outside content`,
      token.offset,
      'control structures and variables are allowed in content and template files only',
    );
  if (!cursor.variables.includes(token.text)) throw new TemplateSyntaxError('TPL-1', `undefined variable "${token.text}"`, token.offset);
  return { kind: 'variable', name: token.text, path: [] };
}

function readWord(cursor: TokenCursor, token: Token): Operand {
  const word = token.text;
  if (word === 'true' || word === 'false') return { kind: 'bool', value: word === 'true' };
  if (word === 'nil') return { kind: 'nil' };
  if (KEYWORDS.has(word)) {
    if (!cursor.allowVariables) throw new TemplateSyntaxError('TPL-3', `"${word}" outside content`, token.offset);
    throw new TemplateSyntaxError('TPL-1', `unexpected <${word}> in command`, token.offset);
  }
  if (REFUSED.has(word)) throw new TemplateSyntaxError('TPL-2', `"${word}" is not supported`, token.offset);
  if (!TEMPLATE_FUNCTIONS.has(word))
    throw new TemplateSyntaxError('TPL-2', `function "${word}" is not defined`, token.offset, didYouMean(word, TEMPLATE_FUNCTIONS.keys()));
  return { kind: 'function', name: word };
}

function readTerm(cursor: TokenCursor): Operand | undefined {
  const token = cursor.peek();
  const simple: readonly TokenKind[] = ['word', 'dot', 'field', 'variable', 'number', 'char', 'string', 'open'];
  if (!simple.includes(token.kind)) return undefined;
  cursor.take();
  if (token.kind === 'dot') return { kind: 'dot' };
  if (token.kind === 'field') return { kind: 'field', path: [token.text] };
  if (token.kind === 'variable') return readVariable(cursor, token);
  if (token.kind === 'number') return readNumber(token);
  if (token.kind === 'char') return { kind: 'number', value: token.text.codePointAt(0)!, float: false };
  if (token.kind === 'string') return { kind: 'text', value: token.text };
  if (token.kind === 'word') return readWord(cursor, token);
  const pipe = cursor.nest(() => readPipe(cursor, 'parenthesized pipeline', 0));
  if (cursor.take().kind !== 'close') throw new TemplateSyntaxError('TPL-1', 'unclosed left parenthesis', token.offset);
  return { kind: 'pipe', pipe };
}

function readOperand(cursor: TokenCursor): Operand | undefined {
  const term = readTerm(cursor);
  if (term === undefined || cursor.peek().kind !== 'field') return term;
  const path: string[] = [];
  const at = cursor.peek();
  while (cursor.peek().kind === 'field') path.push(cursor.take().text);
  if (term.kind === 'field' || term.kind === 'variable') return { ...term, path: [...term.path, ...path] };
  if (term.kind === 'pipe' || term.kind === 'function') return { kind: 'chain', of: term, path };
  throw new TemplateSyntaxError('TPL-1', `unexpected .${at.text} after a value without fields`, at.offset);
}

function readCommand(cursor: TokenCursor): Command {
  const operands: Operand[] = [];
  const offset = cursor.skipSpace().offset;
  for (;;) {
    const operand = readOperand(cursor);
    if (operand !== undefined) operands.push(operand);
    const token = cursor.peek();
    if (token.kind === 'space') {
      if (operand === undefined && operands.length > 0) throw unexpected(token, 'operand');
      cursor.skipSpace();
      const after = cursor.peek();
      if (after.kind === 'end' || after.kind === 'close' || after.kind === 'pipe') break;
      continue;
    }
    if (token.kind === 'end' || token.kind === 'close' || token.kind === 'pipe') break;
    throw unexpected(token, 'operand');
  }
  if (operands.length === 0) throw new TemplateSyntaxError('TPL-1', 'empty command', offset);
  return { operands, offset };
}

function checkCommand(command: Command, stage: number, where: string): void {
  const [first, ...rest] = command.operands;
  if (first!.kind === 'nil') throw new TemplateSyntaxError('TPL-1', `nil is not a command in ${where}`, command.offset);
  if (first!.kind === 'function') {
    const { name, arity } = TEMPLATE_FUNCTIONS.get(first!.name)!;
    const count = rest.length + (stage > 0 ? 1 : 0);
    const [least, most] = arity;
    if (count < least || count > most) {
      const want = most === Number.POSITIVE_INFINITY ? `at least ${least}` : least === most ? String(least) : `${least} to ${most}`;
      throw new TemplateSyntaxError('TPL-1', `wrong number of arguments for ${name}: want ${want}, got ${count}`, command.offset);
    }
    return;
  }
  const executable = first!.kind === 'field' || first!.kind === 'variable' || first!.kind === 'chain' || first!.kind === 'pipe';
  if (rest.length > 0) {
    if (executable) throw new TemplateSyntaxError('TPL-2', 'a value is called like a function: methods are not supported', command.offset);
    throw new TemplateSyntaxError('TPL-1', "can't give an argument to a value that is no function", command.offset);
  }
  if (stage > 0) throw new TemplateSyntaxError('TPL-1', `non executable command in pipeline stage ${stage + 1}`, command.offset);
}

function readVariables(cursor: TokenCursor, most: number): { variables: string[]; assigns: boolean } {
  const names: string[] = [];
  let ahead = 0;
  const skip = () => {
    while (cursor.peek(ahead).kind === 'space') ahead++;
  };
  while (cursor.peek(ahead).kind === 'variable') {
    names.push(cursor.peek(ahead).text);
    ahead++;
    skip();
    const token = cursor.peek(ahead);
    if (token.kind === 'comma' && most === 2 && names.length === 1) {
      ahead++;
      skip();
      if (cursor.peek(ahead).kind !== 'variable') throw unexpected(cursor.peek(ahead), 'range');
      continue;
    }
    if (token.kind === 'comma') throw new TemplateSyntaxError('TPL-1', 'too many declarations', token.offset);
    if (token.kind !== 'declare' && token.kind !== 'assign') return { variables: [], assigns: false };
    const offset = cursor.peek().offset;
    if (!cursor.allowVariables) throw new TemplateSyntaxError('TPL-3', `variable "${names[0]}" outside content`, offset);
    for (let taken = 0; taken <= ahead; taken++) cursor.take();
    const assigns = token.kind === 'assign';
    for (const name of names) {
      if (assigns && !cursor.variables.includes(name)) throw new TemplateSyntaxError('TPL-1', `undefined variable "${name}"`, offset);
      if (name === '$') throw new TemplateSyntaxError('TPL-1', 'the variable $ cannot be set', offset);
    }
    return { variables: names, assigns };
  }
  return { variables: [], assigns: false };
}

/** A pipeline up to the end of the action or the closing parenthesis. `most`: how many variables it may set. @throws TemplateSyntaxError */
export function readPipe(cursor: TokenCursor, where: string, most: 0 | 1 | 2): Pipe {
  const offset = cursor.skipSpace().offset;
  const { variables, assigns } = most === 0 ? { variables: [], assigns: false } : readVariables(cursor, most);
  const commands: Command[] = [];
  for (;;) {
    const token = cursor.skipSpace();
    if (token.kind === 'end' || token.kind === 'close') throw new TemplateSyntaxError('TPL-1', `missing value for ${where}`, token.offset);
    const command = readCommand(cursor);
    checkCommand(command, commands.length, where);
    commands.push(command);
    if (cursor.skipSpace().kind !== 'pipe') break;
    cursor.take();
  }
  if (!assigns) cursor.variables.push(...variables);
  return { variables, assigns, commands, offset };
}
