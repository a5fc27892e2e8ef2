/** Kinds of values in server.yaml: durations become milliseconds, sizes bytes; a message says what was wanted. */
import { z } from 'zod';
import { parseDurationMs, parseSizeBytes } from '../../core/base/duration.ts';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
const KIB = 1024;
export const MIB = 1024 * KIB;

const scalar = z.union([z.string(), z.number()], { error: 'a text or a number is wanted' });

/** Milliseconds. The default is given in milliseconds too. */
export function duration(byDefault: number, { min = 0, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number } = {}) {
  return scalar
    .transform((value, context) => {
      const ms = parseDurationMs(value);
      if (ms === undefined) context.addIssue({ code: 'custom', message: 'a duration is wanted, such as 15s, 5m or 24h' });
      else if (ms < min || ms > max)
        context.addIssue({ code: 'custom', message: `a duration from ${min / 1000}s to ${max / 1000}s is wanted` });
      return ms ?? 0;
    })
    .default(byDefault);
}

/** Bytes. */
export function size(byDefault: number) {
  return scalar
    .transform((value, context) => {
      const bytes = parseSizeBytes(value);
      if (bytes === undefined) context.addIssue({ code: 'custom', message: 'a size is wanted, such as 64KiB or 2MiB' });
      return bytes ?? 0;
    })
    .default(byDefault);
}

export function whole(byDefault: number, min = 0, max = Number.MAX_SAFE_INTEGER) {
  return z
    .number({ error: 'a whole number is wanted' })
    .int('a whole number is wanted')
    .min(min, `at least ${min} is wanted`)
    .max(max, `at most ${max} is wanted`)
    .default(byDefault);
}

export function flag(byDefault: boolean) {
  return z.boolean({ error: 'true or false is wanted' }).default(byDefault);
}

export function oneOf<const T extends readonly [string, ...string[]]>(words: T) {
  return z.enum(words, { error: `one of ${words.join(', ')} is wanted` });
}

export const text = z.string({ error: 'a text is wanted' }).min(1, 'a text that is not empty is wanted');
export const texts = z.array(text, { error: 'a list of texts is wanted' });
export const labels = z.record(z.string(), z.string(), { error: 'a mapping of texts is wanted' });

export const siteId = text.regex(/^[a-z0-9-]{1,32}$/, 'a name of lower-case letters, digits and hyphens, at most 32 long, is wanted');
export const listenAddress = text.regex(/^(\[[0-9a-fA-F:]+\]|[^\s:/]*):\d{1,5}$/, 'host:port is wanted, or :port for all addresses');
export const hostPort = text.regex(/^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$/, 'host:port is wanted');
export const httpsUrl = text.regex(/^https:\/\/[^\s]+$/, 'an https URL is wanted');
export const cidr = text.regex(/^[0-9a-fA-F.:]+\/\d{1,3}$/, 'a network such as 192.0.2.0/24 is wanted');

/** A mapping that refuses unknown keys and is there with its defaults when absent. */
export function section<T extends z.ZodRawShape>(shape: T) {
  return z
    .strictObject(shape, { error: (issue) => (issue.code === 'invalid_type' ? 'a mapping is wanted' : undefined) })
    .prefault({} as never);
}

/** The same, but absent unless written. */
export function given<T extends z.ZodRawShape>(shape: T) {
  return z.strictObject(shape, { error: (issue) => (issue.code === 'invalid_type' ? 'a mapping is wanted' : undefined) });
}

export function listOf<T extends z.ZodType>(item: T) {
  return z.array(item, { error: 'a list is wanted' }).default([]);
}
