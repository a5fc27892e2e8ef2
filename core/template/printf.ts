/** `printf`: Go's verbs and flags for plain data; where Go writes `%!…` this refuses. */
import { printFloat, printWith } from './print.ts';
import { checkedText, describe, fail, kindOf, numberOf, type Value } from './value.ts';

interface Verb {
  readonly letter: string;
  readonly flags: ReadonlySet<string>;
  readonly width: number | undefined;
  readonly precision: number | undefined;
}

const MAX_WIDTH = 100_000;

function pad(text: string, verb: Verb, zero: boolean): string {
  const missing = (verb.width ?? 0) - [...text].length;
  if (missing <= 0) return text;
  if (verb.flags.has('-')) return text + ' '.repeat(missing);
  return (zero ? '0' : ' ').repeat(missing) + text;
}

function padNumber(text: string, verb: Verb, zero: boolean): string {
  const negative = text.startsWith('-');
  const sign = negative ? '-' : verb.flags.has('+') ? '+' : verb.flags.has(' ') ? ' ' : '';
  const digits = negative ? text.slice(1) : text;
  const missing = (verb.width ?? 0) - sign.length - digits.length;
  if (missing > 0 && zero && !verb.flags.has('-')) return sign + '0'.repeat(missing) + digits;
  return pad(sign + digits, verb, false);
}

const RADIX: Readonly<Record<string, number>> = { d: 10, v: 10, x: 16, X: 16, o: 8, b: 2 };

function formatInteger(value: number, verb: Verb): string {
  const radix = RADIX[verb.letter]!;
  let digits = Math.abs(value).toString(radix);
  if (verb.letter === 'X') digits = digits.toUpperCase();
  if (verb.precision !== undefined) digits = verb.precision === 0 && value === 0 ? '' : digits.padStart(verb.precision, '0');
  let prefix = '';
  if (verb.flags.has('#')) prefix = { x: '0x', X: '0X', b: '0b', o: digits.startsWith('0') ? '' : '0' }[verb.letter] ?? '';
  const zero = verb.flags.has('0') && verb.precision === undefined;
  if (prefix !== '' && zero && verb.width !== undefined && !verb.flags.has('-')) {
    // Go fills up to the width with zeros first and puts the prefix before them
    const signed = value < 0 || verb.flags.has('+') || verb.flags.has(' ');
    digits = digits.padStart(verb.width - (signed ? 1 : 0), '0');
  }
  return padNumber(`${value < 0 ? '-' : ''}${prefix}${digits}`, verb, zero);
}

function exponentForm(value: number, precision: number): string {
  return value.toExponential(precision).replace(/e([+-])(\d)$/, 'e$10$2');
}

/** toFixed is exact only below 1e21; above, the integer digits come from BigInt. */
function fixedForm(value: number, precision: number): string {
  if (Math.abs(value) < 1e21) return value.toFixed(precision);
  return BigInt(value).toString() + (precision > 0 ? `.${'0'.repeat(precision)}` : '');
}

function generalForm(value: number, precision: number | undefined): string {
  if (precision === undefined) return printFloat(value);
  const digits = Math.min(Math.max(precision, 1), 100);
  const exponent = Number(value.toExponential(digits - 1).split('e')[1]);
  const short = (text: string) => (text.includes('.') ? text.replace(/\.?0+$/, '') : text);
  if (exponent < -4 || exponent >= digits) {
    const [mantissa, power] = exponentForm(value, digits - 1).split('e') as [string, string];
    return `${short(mantissa)}e${power}`;
  }
  return short(fixedForm(value, Math.max(0, digits - 1 - exponent)));
}

function formatFloat(value: number, verb: Verb): string {
  if (verb.flags.has('#')) fail(`printf: the flag # is not supported with %${verb.letter}`);
  const precision = Math.min(verb.precision ?? 6, 100);
  let text: string;
  if (verb.letter === 'f') text = fixedForm(value, precision);
  else if (verb.letter === 'e') text = exponentForm(value, precision);
  else text = generalForm(value, verb.precision);
  return padNumber(text, verb, verb.flags.has('0'));
}

const QUOTED: Readonly<Record<string, string>> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
};

function quoteGo(text: string, quote: string, ascii: boolean): string {
  let result = quote;
  for (const char of text) {
    const point = char.codePointAt(0)!;
    if (char === quote) result += `\\${char}`;
    else if (Object.hasOwn(QUOTED, char)) result += QUOTED[char];
    else if ((char === ' ' || /[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(char)) && !(ascii && point > 0x7e)) result += char;
    else if (point < 0x80) result += `\\x${point.toString(16).padStart(2, '0')}`;
    else result += point > 0xffff ? `\\U${point.toString(16).padStart(8, '0')}` : `\\u${point.toString(16).padStart(4, '0')}`;
  }
  return result + quote;
}

function formatText(value: string, verb: Verb): string {
  const zero = verb.flags.has('0');
  if (verb.letter === 'x' || verb.letter === 'X') {
    const bytes = [...Buffer.from(value, 'utf8')].slice(0, verb.precision);
    const prefix = verb.flags.has('#') && bytes.length > 0 ? `0${verb.letter}` : '';
    const hex = bytes.map((byte) => byte.toString(16).padStart(2, '0'));
    const text = verb.flags.has(' ') ? hex.map((each) => prefix + each).join(' ') : prefix + hex.join('');
    return pad(verb.letter === 'X' ? text.toUpperCase() : text, verb, zero);
  }
  const cut = verb.precision === undefined ? value : [...value].slice(0, verb.precision).join('');
  if (verb.letter !== 'q') return pad(cut, verb, zero);
  const raw = verb.flags.has('#') && !/[`\u007f\u0000-\u0008\u000a-\u001f\ufeff]/.test(cut);
  return pad(raw ? `\`${cut}\`` : quoteGo(cut, '"', verb.flags.has('+')), verb, zero);
}

function formatScalar(value: Value, verb: Verb): string {
  const kind = kindOf(value);
  const { letter } = verb;
  if (letter === 'v' && verb.flags.has('#')) fail('printf: %#v is not supported');
  if (kind === 'string' && 'vsqxX'.includes(letter)) return formatText(value as string, verb);
  if (kind === 'bool' && 'vt'.includes(letter)) return pad(String(value), verb, verb.flags.has('0'));
  if (kind === 'int') {
    const whole = value as number;
    if (Object.hasOwn(RADIX, letter)) return formatInteger(whole, verb);
    if ('cq'.includes(letter)) {
      const char = whole >= 0 && whole <= 0x10ffff && !(whole >= 0xd800 && whole <= 0xdfff) ? String.fromCodePoint(whole) : '\ufffd';
      return pad(letter === 'c' ? char : quoteGo(char, "'", verb.flags.has('+')), verb, verb.flags.has('0'));
    }
  }
  if (kind === 'float' && 'vfeg'.includes(letter)) return formatFloat(numberOf(value), verb);
  return fail(`printf: %${letter} cannot print ${describe(value)}`);
}

function toInteger(value: Value, what: string): number {
  if (kindOf(value) !== 'int' || Math.abs(value as number) > MAX_WIDTH) fail(`printf: bad ${what}`);
  return value as number;
}

/** @throws CodedError EVAL_ERROR where Go would write `%!` */
export function printf(format: string, args: readonly Value[]): string {
  let text = '';
  let next = 0;
  let reordered = false;
  const take = (): Value => {
    if (next >= args.length) fail('printf: too few arguments');
    return args[next++];
  };
  let at = 0;
  const index = (): void => {
    const match = /^\[(\d+)\]/.exec(format.slice(at, at + 12));
    if (match === null) return;
    const wanted = Number(match[1]);
    if (wanted < 1 || wanted > args.length) fail('printf: bad argument index');
    next = wanted - 1;
    reordered = true;
    at += match[0].length;
  };
  const amount = (what: string): number | undefined => {
    index();
    if (format[at] === '*') {
      at++;
      return toInteger(take(), what);
    }
    const match = /^\d{1,7}/.exec(format.slice(at, at + 8));
    if (match === null) return undefined;
    at += match[0].length;
    return toInteger(Number(match[0]), what);
  };
  while (at < format.length) {
    const percent = format.indexOf('%', at);
    if (percent < 0) {
      text += format.slice(at);
      break;
    }
    text += format.slice(at, percent);
    at = percent + 1;
    const flags = new Set<string>();
    while (at < format.length && '-+0 #'.includes(format[at]!)) flags.add(format[at++]!);
    let width = amount('width');
    if (width !== undefined && width < 0) {
      width = -width;
      flags.add('-');
    }
    if (flags.has('-')) flags.delete('0');
    let precision: number | undefined;
    if (format[at] === '.') {
      at++;
      precision = amount('precision') ?? 0;
      if (precision < 0) fail('printf: bad precision');
    }
    index();
    const letter = format[at++];
    if (letter === undefined) return fail('printf: the format ends after %');
    if (letter === '%') text += '%';
    else {
      if (!'vsqdxXobtfegc'.includes(letter)) fail(`printf: %${letter} is not supported`);
      const verb: Verb = { letter, flags, width, precision };
      text += printWith(take(), (value) => formatScalar(value, verb));
    }
    checkedText(text);
  }
  if (!reordered && next < args.length) fail('printf: too many arguments');
  return text;
}
