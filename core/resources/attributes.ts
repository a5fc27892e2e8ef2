/** Parsers of rendered attributes: every value arrives as a text, a list or a map (config.md §1.5) and leaves as what an executor works with. */
import { RE2JS } from 're2js';
import { z } from 'zod';

/** YAML scalars are texts by the time they arrive, but literal numbers and booleans of old bodies are understood too. */
const scalar = z.union([z.string(), z.number(), z.boolean()]).transform(String);

const refused = (context: z.RefinementCtx, message: string): typeof z.NEVER => {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
};

/** Any text; NUL never reaches a file name, an argument or a file. */
export const text = () => scalar.refine((value) => !value.includes('\u0000'), 'holds a NUL byte');

/** One line that is not empty. */
export const line = () => text().refine((value) => value !== '' && !/[\r\n]/.test(value), 'must be one line and not empty');

/** One line of a given form. */
export const matching = (form: RegExp, message: string) => line().refine((value) => form.test(value), message);

/** A list whose elements have a given form. */
export const listOf = (accepts: (item: string) => boolean, message: string) => list().refine((items) => items.every(accepts), message);

/** Bytes of a file as text: anything goes. */
export const content = () => scalar;

export const command = () => text().refine((value) => value.trim() !== '', 'the command is empty');

/** One command, or a YAML list of them; a comma is part of a command and splits nothing. */
export const commands = () => z.union([command().transform((one) => [one]), z.array(command())]).transform((all): readonly string[] => all);

export const bool = () =>
  scalar.transform((value, context) => {
    const word = value.trim().toLowerCase();
    if (['true', 'yes', '1'].includes(word)) return true;
    if (['false', 'no', '0'].includes(word)) return false;
    return refused(context, `"${value}" is not one of true, false, yes, no, 1, 0`);
  });

export const int = (min: number, max: number) =>
  scalar.transform((value, context) => {
    const number = /^-?\d{1,15}$/.test(value.trim()) ? Number(value) : Number.NaN;
    return number >= min && number <= max ? number : refused(context, `"${value}" is not a whole number from ${min} to ${max}`);
  });

/** Permission bits as octal text: `0644`, `644`, `0o644`; up to 7777. */
export const octal = () =>
  scalar.transform((value, context) => {
    const digits = /^(?:0o)?([0-7]{3,5})$/.exec(value.trim())?.[1];
    const mode = digits === undefined ? Number.NaN : Number.parseInt(digits, 8);
    return mode <= 0o7777 ? mode : refused(context, `"${value}" is not an octal mode such as "0644"`);
  });

/** A YAML list, or a text split at commas; blanks around elements and empty elements go away. */
export const list = () =>
  z
    .union([scalar.transform((value) => value.split(',')), z.array(scalar)])
    .transform((items): readonly string[] => items.map((item) => item.trim()).filter((item) => item !== ''))
    .refine((items) => items.every((item) => !/[\u0000\r\n]/.test(item)), 'an element holds a line break or a NUL byte');

/** As {@link list}, but split at blanks as well, for values that never hold one. */
export const words = () => list().transform((items): readonly string[] => items.flatMap((item) => item.split(/\s+/)));

export const ints = (min: number, max: number) =>
  list().transform((items, context): readonly number[] => {
    const bad = items.find((item) => !int(min, max).safeParse(item).success);
    return bad === undefined ? items.map(Number) : refused(context, `"${bad}" is not a whole number from ${min} to ${max}`);
  });

/** An absolute path of Unix or Windows. */
export const path = () => text().refine(isAbsolute, 'must be an absolute path of one line');

export function isAbsolute(value: string): boolean {
  return /^(\/|[A-Za-z]:[\\/]|\\\\)/.test(value) && !/[\r\n]/.test(value);
}

export const regex = () =>
  text().transform((value, context) => {
    try {
      RE2JS.compile(value);
      return value;
    } catch (thrown) {
      return refused(context, `is not a regular expression: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
    }
  });

/** One of the words, whatever the case. */
export const oneOf = <const W extends readonly [string, ...string[]]>(allowed: W) =>
  scalar.transform((value) => value.trim().toLowerCase()).pipe(z.enum(allowed));

const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** `KEY=VALUE,KEY=VALUE`, a list of such pairs, or a map; a Map because the keys are the author's. */
export const variables = () =>
  z
    .union([z.record(z.string(), scalar), z.array(scalar), scalar.transform((value) => value.split(','))])
    .transform((value, context): ReadonlyMap<string, string> => {
      const pairs: [string, string][] = Array.isArray(value)
        ? value.filter((pair) => pair.trim() !== '').map((pair) => splitPair(pair.trimStart()))
        : Object.entries(value);
      const bad = pairs.find(([key, of]) => !VARIABLE.test(key) || /[\u0000\r\n]/.test(of));
      return bad === undefined ? new Map(pairs) : refused(context, `"${bad[0]}" is not a NAME=value of one line`);
    });

function splitPair(pair: string): [string, string] {
  const at = pair.indexOf('=');
  return at < 0 ? [pair.trim(), ''] : [pair.slice(0, at).trim(), pair.slice(at + 1)];
}

/** All texts of an attribute that may be a list. */
export function textsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.filter((item): item is string => typeof item === 'string');
  return typeof value === 'string' ? [value] : [];
}
