/** Functions on text; the text comes last, so that it can be piped. */
import { printValue } from '../print.ts';
import { checkedText, fail, integerOf, MAX_OUTPUT, stringOf, type Value } from '../value.ts';
import { inGroup, type TemplateFunction } from './function.ts';

const define = inGroup('text');

/** A function whose last argument is the text and whose others are texts too. */
function ofTexts(name: string, count: number, usage: string, doc: string, call: (...texts: string[]) => Value): TemplateFunction {
  return define(name, [count, count], usage, doc, (args) => {
    const result = call(...args.map((each) => stringOf(each, name)));
    return typeof result === 'string' ? checkedText(result) : result;
  });
}

function indent(count: Value, text: Value, name: string): string {
  const spaces = integerOf(count, name);
  if (spaces < 0 || spaces > 1000) fail(`${name}: ${spaces} is not between 0 and 1000`);
  const lines = stringOf(text, name).split('\n');
  if (lines.length * spaces > MAX_OUTPUT) fail('a text grows beyond 4 MiB');
  return checkedText(lines.map((line) => (line === '' ? '' : ' '.repeat(spaces) + line)).join('\n'));
}

function repeat(count: Value, text: Value): string {
  const times = integerOf(count, 'repeat');
  const unit = stringOf(text, 'repeat');
  if (times < 0) fail('repeat: the count is negative');
  if (times * unit.length > MAX_OUTPUT) fail('a text grows beyond 4 MiB');
  return unit.repeat(times);
}

/** Without building the result first when it would be too long. */
function replaceAll(old: string, by: string, text: string): string {
  if (old === '') return fail('replace: the text to replace is empty');
  const parts = text.split(old);
  if ((parts.length - 1) * by.length > MAX_OUTPUT) fail('a text grows beyond 4 MiB');
  return parts.join(by);
}

function trimCut(cut: string, text: string): string {
  const set = new Set(cut);
  const chars = [...text];
  let from = 0;
  let to = chars.length;
  while (from < to && set.has(chars[from]!)) from++;
  while (to > from && set.has(chars[to - 1]!)) to--;
  return chars.slice(from, to).join('');
}

function title(text: string): string {
  return text.replace(/(^|[^\p{L}\p{N}_'])(\p{L})/gu, (_all, before: string, letter: string) => before + letter.toUpperCase());
}

function squote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function lines(text: string): readonly string[] {
  const all = text.split(/\r?\n/);
  if (all.at(-1) === '') all.pop();
  return all;
}

export const TEXT: readonly TemplateFunction[] = [
  ofTexts('contains', 2, 'sub s', 'true when s contains sub', (sub, text) => text!.includes(sub!)),
  ofTexts('hasPrefix', 2, 'p s', 'true when s begins with p', (prefix, text) => text!.startsWith(prefix!)),
  ofTexts('hasSuffix', 2, 'p s', 'true when s ends with p', (suffix, text) => text!.endsWith(suffix!)),
  define('indent', [2, 2], 'n s', 'n spaces before every line that is not empty', ([count, text]) => indent(count, text, 'indent')),
  ofTexts('lines', 1, 's', 'the lines of s as a list', (text) => lines(text!)),
  ofTexts('lower', 1, 's', 'lower case', (text) => text!.toLowerCase()),
  define('nindent', [2, 2], 'n s', 'a line end, then s indented', ([count, text]) => `\n${indent(count, text, 'nindent')}`),
  define('quote', [1, 1], 'v', 'in double quotes, with the escapes of JSON', ([value]) => checkedText(JSON.stringify(printValue(value)))),
  define('repeat', [2, 2], 'n s', 's n times', ([count, text]) => repeat(count, text)),
  ofTexts('replace', 3, 'old new s', 'every old in s replaced by new', (old, by, text) => replaceAll(old!, by!, text!)),
  define('squote', [1, 1], 'v', 'in single quotes, safe for a POSIX shell', ([value]) => checkedText(squote(printValue(value)))),
  ofTexts('title', 1, 's', 'the first letter of every word in upper case', (text) => title(text!)),
  ofTexts('trim', 1, 's', 'without white space at both ends', (text) => text!.trim()),
  ofTexts('trimAll', 2, 'cut s', 'without the characters of cut at both ends', (cut, text) => trimCut(cut!, text!)),
  ofTexts('trimPrefix', 2, 'p s', 'without the prefix p', (prefix, text) =>
    text!.startsWith(prefix!) ? text!.slice(prefix!.length) : text,
  ),
  ofTexts('trimSuffix', 2, 'p s', 'without the suffix p', (suffix, text) =>
    text!.endsWith(suffix!) ? text!.slice(0, text!.length - suffix!.length) : text,
  ),
  define('trunc', [2, 2], 'n s', 'the first n characters, or the last when n is negative', ([count, text]) => {
    const chars = [...stringOf(text, 'trunc')];
    const most = integerOf(count, 'trunc');
    return (most < 0 ? chars.slice(Math.max(0, chars.length + most)) : chars.slice(0, most)).join('');
  }),
  ofTexts('upper', 1, 's', 'upper case', (text) => text!.toUpperCase()),
];
