/** Cuts a template into literal text and the tokens of its actions, as Go's text/template/parse does. */
import { type Span, TemplateSyntaxError } from './ast.ts';

export type TokenKind =
  | 'space'
  | 'field'
  | 'dot'
  | 'variable'
  | 'word'
  | 'number'
  | 'char'
  | 'string'
  | 'pipe'
  | 'open'
  | 'close'
  | 'declare'
  | 'assign'
  | 'comma'
  | 'end';

export interface Token {
  readonly kind: TokenKind;
  /** the name, or the decoded text of a string */
  readonly text: string;
  readonly offset: number;
}

export type Piece =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly tokens: readonly Token[]; readonly span: Span };

const SPACE = ' \t\r\n';
const WORD_START = /[\p{L}_]/u;
const WORD = /[\p{L}\p{Nd}_]/u;

function isSpace(char: string | undefined): boolean {
  return char !== undefined && char !== '' && SPACE.includes(char);
}

function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace(text[end - 1])) end--;
  return text.slice(0, end);
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (isSpace(text[at])) at++;
  return at;
}

function wordEnd(text: string, from: number): number {
  let at = from;
  for (;;) {
    const point = text.codePointAt(at);
    if (point === undefined) return at;
    const char = String.fromCodePoint(point);
    if (!WORD.test(char)) return at;
    at += char.length;
  }
}

const ESCAPES: Readonly<Record<string, string>> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v', '\\': '\\' };

/** Decodes the inside of a Go string or character literal. */
function unquote(raw: string, quote: string, offset: number): string {
  let bytes: number[] = [];
  let result = '';
  const flush = () => {
    if (bytes.length === 0) return;
    result += Buffer.from(bytes).toString('utf8');
    bytes = [];
  };
  for (let i = 0; i < raw.length; ) {
    const char = raw[i]!;
    if (char !== '\\') {
      flush();
      result += char;
      i++;
      continue;
    }
    const letter = raw[i + 1] ?? '';
    const simple = Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : letter === quote ? quote : undefined;
    if (simple !== undefined) {
      flush();
      result += simple;
      i += 2;
      continue;
    }
    const digits = letter === 'x' ? 2 : letter === 'u' ? 4 : letter === 'U' ? 8 : 0;
    const octal = /^[0-7]{3}/.exec(raw.slice(i + 1));
    const hex = digits === 0 ? undefined : raw.slice(i + 2, i + 2 + digits);
    if (hex !== undefined && hex.length === digits && /^[0-9a-fA-F]+$/.test(hex)) {
      const value = Number.parseInt(hex, 16);
      if (digits === 2 && quote === '"') bytes.push(value);
      else {
        if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
          throw new TemplateSyntaxError('TPL-1', 'invalid character in escape', offset);
        flush();
        result += String.fromCodePoint(value);
      }
      i += 2 + digits;
    } else if (octal !== null && Number.parseInt(octal[0], 8) < 256) {
      if (quote === '"') bytes.push(Number.parseInt(octal[0], 8));
      else result += String.fromCharCode(Number.parseInt(octal[0], 8));
      i += 4;
    } else {
      throw new TemplateSyntaxError('TPL-1', `unknown escape "\\${letter}"`, offset);
    }
  }
  flush();
  return result;
}

function lexQuoted(text: string, at: number, quote: string): { token: Token; next: number } {
  for (let i = at + 1; i < text.length; i++) {
    const char = text[i]!;
    if (char === '\\') i++;
    else if (char === '\n') break;
    else if (char === quote) {
      const value = unquote(text.slice(at + 1, i), quote, at);
      if (quote === "'" && [...value].length !== 1) throw new TemplateSyntaxError('TPL-1', 'malformed character constant', at);
      return { token: { kind: quote === "'" ? 'char' : 'string', text: value, offset: at }, next: i + 1 };
    }
  }
  throw new TemplateSyntaxError('TPL-1', quote === "'" ? 'unterminated character constant' : 'unterminated quoted string', at);
}

const NUMBER = /[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)/y;

/** After a field, variable or word only these may follow; everything else is a bad character. */
function checkEnds(text: string, at: number): void {
  const char = text[at];
  if (char === undefined || isSpace(char) || '.,|:)('.includes(char) || text.startsWith('}}', at)) return;
  throw new TemplateSyntaxError('TPL-1', `bad character ${JSON.stringify(char)}`, at);
}

const SINGLE: Readonly<Record<string, TokenKind>> = { '|': 'pipe', '(': 'open', ')': 'close', ',': 'comma', '=': 'assign' };

function lexToken(text: string, at: number): { token: Token; next: number } {
  const char = text[at]!;
  if (isSpace(char)) return { token: { kind: 'space', text: ' ', offset: at }, next: skipSpace(text, at) };
  if (char === '"' || char === "'") return lexQuoted(text, at, char);
  if (char === '`') {
    const close = text.indexOf('`', at + 1);
    if (close < 0) throw new TemplateSyntaxError('TPL-1', 'unterminated raw quoted string', at);
    return { token: { kind: 'string', text: text.slice(at + 1, close), offset: at }, next: close + 1 };
  }
  if (char === ':' && text[at + 1] === '=') return { token: { kind: 'declare', text: ':=', offset: at }, next: at + 2 };
  if (Object.hasOwn(SINGLE, char)) return { token: { kind: SINGLE[char]!, text: char, offset: at }, next: at + 1 };
  if (char === '$' || (char === '.' && !/[0-9]/.test(text[at + 1] ?? ''))) {
    const next = wordEnd(text, at + 1);
    checkEnds(text, next);
    if (char === '$') return { token: { kind: 'variable', text: text.slice(at, next), offset: at }, next };
    return { token: { kind: next === at + 1 ? 'dot' : 'field', text: text.slice(at + 1, next), offset: at }, next };
  }
  if (/[0-9.+-]/.test(char)) {
    NUMBER.lastIndex = at;
    const match = NUMBER.exec(text);
    const next = at + (match?.[0].length ?? 0);
    if (match === null || WORD.test(text[next] ?? ' ') || text[next] === '.')
      throw new TemplateSyntaxError('TPL-1', `bad number syntax: ${JSON.stringify(text.slice(at, next + 1))}`, at);
    return { token: { kind: 'number', text: match[0], offset: at }, next };
  }
  if (WORD_START.test(String.fromCodePoint(text.codePointAt(at)!))) {
    const next = wordEnd(text, at);
    checkEnds(text, next);
    return { token: { kind: 'word', text: text.slice(at, next), offset: at }, next };
  }
  throw new TemplateSyntaxError('TPL-1', `unexpected ${JSON.stringify(char)} in action`, at);
}

function trimsAfter(text: string, at: number): boolean {
  return isSpace(text[at]) && text.startsWith('-}}', at + 1);
}

export interface LexedAction {
  readonly tokens: readonly Token[];
  readonly span: Span;
  readonly comment: boolean;
}

/** One action whose `{{` stands at `start`. @throws TemplateSyntaxError */
export function lexAction(text: string, start: number): LexedAction {
  let at = start + 2;
  const trimBefore = text[at] === '-' && isSpace(text[at + 1]);
  if (trimBefore) at += 2;
  const comment = text.startsWith('/*', trimBefore ? skipSpace(text, at) : at);
  if (comment) {
    const close = text.indexOf('*/', at);
    if (close < 0) throw new TemplateSyntaxError('TPL-1', 'unclosed comment', start);
    const trimAfter = trimsAfter(text, close + 2);
    if (!trimAfter && !text.startsWith('}}', close + 2))
      throw new TemplateSyntaxError('TPL-1', 'comment ends before closing delimiter', close + 2);
    return { tokens: [], span: { start, end: close + (trimAfter ? 6 : 4), trimBefore, trimAfter }, comment };
  }
  const tokens: Token[] = [];
  let depth = 0;
  for (;;) {
    const trimAfter = trimsAfter(text, at);
    if (trimAfter || text.startsWith('}}', at)) {
      if (depth > 0) throw new TemplateSyntaxError('TPL-1', 'unclosed left parenthesis', at);
      tokens.push({ kind: 'end', text: '}}', offset: at });
      return { tokens, span: { start, end: at + (trimAfter ? 4 : 2), trimBefore, trimAfter }, comment };
    }
    if (at >= text.length) throw new TemplateSyntaxError('TPL-1', 'unclosed action', start);
    const { token, next } = lexToken(text, at);
    if (token.kind === 'open') depth++;
    if (token.kind === 'close' && --depth < 0) throw new TemplateSyntaxError('TPL-1', 'unexpected right parenthesis', at);
    tokens.push(token);
    // "-}}" right after white space ends the action and takes that space with it
    at = token.kind === 'space' && text.startsWith('-}}', next) ? next - 1 : next;
    if (token.kind === 'space' && text.startsWith('-}}', next)) tokens.pop();
  }
}

/** @throws TemplateSyntaxError */
export function lexTemplate(text: string): readonly Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trim = false;
  for (;;) {
    const from = trim ? skipSpace(text, at) : at;
    const start = text.indexOf('{{', from);
    const action = start < 0 ? undefined : lexAction(text, start);
    const raw = text.slice(from, start < 0 ? text.length : start);
    const literal = action?.span.trimBefore === true ? trimEnd(raw) : raw;
    if (literal !== '') pieces.push({ kind: 'text', text: literal });
    if (action === undefined) return pieces;
    if (!action.comment) pieces.push({ kind: 'action', tokens: action.tokens, span: action.span });
    at = action.span.end;
    trim = action.span.trimAfter;
  }
}
