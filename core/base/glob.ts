/** The one glob dialect (config.md §2.2): entries, waivers, enrolment tokens, routing, targets. Linear time, no regular expressions. */
import { CodedError } from './errors.ts';

type Token =
  | { readonly kind: 'any' }
  | { readonly kind: 'one' }
  | { readonly kind: 'char'; readonly char: string }
  | { readonly kind: 'set'; readonly negated: boolean; readonly ranges: readonly (readonly [string, string])[] };

export interface Glob {
  readonly pattern: string;
  matches(host: string): boolean;
}

function normalise(host: string): string {
  const lower = host.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

function parseSet(chars: readonly string[], start: number, pattern: string): { token: Token; next: number } {
  let i = start;
  const negated = chars[i] === '^';
  if (negated) i++;
  const ranges: [string, string][] = [];
  while (chars[i] !== ']' || ranges.length === 0) {
    let low = chars[i++];
    if (low === '\\') low = chars[i++];
    if (low === undefined) throw new CodedError('BAD_REQUEST', `unclosed "[" in pattern "${pattern}"`);
    let high = low;
    if (chars[i] === '-' && chars[i + 1] !== undefined && chars[i + 1] !== ']') {
      high = chars[i + 1]!;
      i += 2;
      if (high === '\\') high = chars[i++] ?? '';
    }
    ranges.push([low, high]);
    if (i >= chars.length) throw new CodedError('BAD_REQUEST', `unclosed "[" in pattern "${pattern}"`);
  }
  return { token: { kind: 'set', negated, ranges }, next: i + 1 };
}

function parseTokens(pattern: string): Token[] {
  const chars = [...normalise(pattern)];
  const tokens: Token[] = [];
  for (let i = 0; i < chars.length; ) {
    const char = chars[i]!;
    if (char === '*') {
      if (tokens.at(-1)?.kind !== 'any') tokens.push({ kind: 'any' });
      i++;
    } else if (char === '?') {
      tokens.push({ kind: 'one' });
      i++;
    } else if (char === '[') {
      const set = parseSet(chars, i + 1, pattern);
      tokens.push(set.token);
      i = set.next;
    } else if (char === '\\') {
      const literal = chars[i + 1];
      if (literal === undefined) throw new CodedError('BAD_REQUEST', `trailing "\\" in pattern "${pattern}"`);
      tokens.push({ kind: 'char', char: literal });
      i += 2;
    } else {
      tokens.push({ kind: 'char', char });
      i++;
    }
  }
  return tokens;
}

function fits(token: Token, char: string): boolean {
  if (token.kind === 'one') return true;
  if (token.kind === 'char') return token.char === char;
  if (token.kind === 'set') return token.ranges.some(([low, high]) => char >= low && char <= high) !== token.negated;
  return false;
}

function matchTokens(tokens: readonly Token[], chars: readonly string[]): boolean {
  let t = 0;
  let c = 0;
  let starToken = -1;
  let starChar = 0;
  while (c < chars.length) {
    const token = tokens[t];
    if (token !== undefined && token.kind === 'any') {
      starToken = t++;
      starChar = c;
    } else if (token !== undefined && fits(token, chars[c]!)) {
      t++;
      c++;
    } else if (starToken >= 0) {
      t = starToken + 1;
      c = ++starChar;
    } else {
      return false;
    }
  }
  while (tokens[t]?.kind === 'any') t++;
  return t === tokens.length;
}

/**
 * Compiles a pattern; host and pattern are lower-cased and lose one trailing dot, the whole host must match.
 * @throws CodedError BAD_REQUEST for an unclosed `[`, a trailing backslash, an empty pattern or one above 253 characters
 */
export function compileGlob(pattern: string): Glob {
  if (pattern === '') throw new CodedError('BAD_REQUEST', 'empty pattern');
  if (pattern.length > 253) throw new CodedError('BAD_REQUEST', 'pattern is longer than 253 characters');
  const tokens = parseTokens(pattern);
  return { pattern, matches: (host) => matchTokens(tokens, [...normalise(host)]) };
}
