/** Secrets of a run: which references it needs, and what may be said of a resource that holds one (config.md §9.4, §9.5). */
import type { Json } from '../../core/base/json.ts';
import type { Redactor } from '../../core/base/redaction.ts';
import { refsIn } from '../../core/config/secrets.ts';
import { mapText } from '../../core/config/values.ts';
import type { Body, BodyModule } from '../../core/policy/body.ts';
import type { Outcome } from '../../core/policy/outcome.ts';
import type { Change } from '../executors/executor.ts';
import type { SecretLookup } from '../secret-source.ts';

/** A report is no place for the ten thousand lines that an edit removed. */
const MAX_CHANGES = 100;

export type SecretValues = ReadonlyMap<string, SecretLookup>;

/** A reference without a value, and why. */
export interface SecretGap {
  readonly ref: string;
  readonly status: 'missing' | 'denied' | 'unavailable';
}

/** All references that the modules of this run may read, sorted. */
export function refsOfRun(body: Body, modules: readonly BodyModule[]): readonly string[] {
  const parts: readonly unknown[] = [body.vars, body.vars_when, body.templates, modules];
  return [...new Set(parts.flatMap((part) => refsIn(part as Json)))].sort();
}

export function gapsOf(refs: Iterable<string>, values: SecretValues): SecretGap | undefined {
  const gaps = [...refs].flatMap((ref): SecretGap[] => {
    const lookup = values.get(ref);
    if (lookup?.status === 'ok') return [];
    return [{ ref, status: lookup?.status ?? 'unavailable' }];
  });
  // a mistake that stays is worth more attention than a server that is away
  return gaps.find(({ status }) => status !== 'unavailable') ?? gaps[0];
}

/** Whole characters within the limit; half a surrogate pair could not be signed. */
export function cutBytes(raw: string, limit: number): string {
  const text = raw.toWellFormed();
  if (Buffer.byteLength(text) <= limit) return text;
  const cut = Buffer.from(text)
    .subarray(0, limit - 3)
    .toString('utf8')
    .replace(/\ufffd$/, '');
  return `${cut}…`;
}

/** What a report may show of changes: nothing for sensitive resources, no known secret for others. */
export function shownChanges(changes: readonly Change[], sensitive: boolean, redactor: Redactor): Outcome['changes'] {
  if (sensitive) return [];
  const shown = (value: Json) => mapText(value, (text) => cutBytes(redactor.redact(text), 1_024));
  const all: Change[] = changes.map(({ attribute, from, to, secret }) =>
    secret === true
      ? { attribute, from: '[secret]', to: '[secret]' }
      : { attribute: redactor.redact(attribute), from: shown(from), to: shown(to) },
  );
  const more = all.length - MAX_CHANGES;
  const kept: Change[] = more > 0 ? [...all.slice(0, MAX_CHANGES), { attribute: 'more', from: null, to: `${more} further changes` }] : all;
  return kept as Outcome['changes'];
}

export function shownOutput(output: string, sensitive: boolean, redactor: Redactor): string | undefined {
  if (output === '') return undefined;
  if (sensitive) return `[output withheld: ${Buffer.byteLength(output)} bytes]`;
  return cutBytes(redactor.redact(output), 16 * 1024);
}
