/** Host name → entry: the first entry of the total order of which a pattern matches (config.md §2.3), in time that hardly grows with the tree. */
import { messageOf } from '../base/errors.ts';
import { compileGlob, type Glob } from '../base/glob.ts';
import type { Problem } from '../base/problem.ts';
import type { ConfigSnapshot, Entry } from './snapshot.ts';

interface Candidate {
  readonly ordinal: number;
  readonly glob: Glob;
}

/** Globs filed under the literal text they begin with. */
class PrefixIndex {
  readonly #byText = new Map<string, Candidate[]>();
  #lengths: number[] = [];

  add(text: string, candidate: Candidate): void {
    const list = this.#byText.get(text);
    if (list === undefined) this.#byText.set(text, [candidate]);
    else list.push(candidate);
    if (!this.#lengths.includes(text.length)) this.#lengths = [...this.#lengths, text.length].sort((a, b) => a - b);
  }

  /** The lowest ordinal below `best` that matches. */
  best(key: string, host: string, best: number): number {
    let found = best;
    for (const length of this.#lengths) {
      if (length > key.length) break;
      for (const { ordinal, glob } of this.#byText.get(key.slice(0, length)) ?? []) {
        if (ordinal >= found) break;
        if (glob.matches(host)) found = ordinal;
      }
    }
    return found;
  }
}

function normalise(text: string): string {
  const lower = text.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

function reversed(text: string): string {
  return [...text].reverse().join('');
}

/** Patterns in matching order. */
export interface Matchable {
  readonly ordinal: number;
  readonly patterns: readonly { readonly value: string }[];
}

export class Matcher {
  readonly #exact = new Map<string, number>();
  readonly #byPrefix = new PrefixIndex();
  readonly #bySuffix = new PrefixIndex();

  constructor(entries: readonly Matchable[]) {
    for (const entry of entries) for (const { value } of entry.patterns) this.#add(value, entry.ordinal);
  }

  #add(pattern: string, ordinal: number): void {
    const text = normalise(pattern);
    if (text !== '' && !/[*?[\]\\]/.test(text)) {
      if (!this.#exact.has(text)) this.#exact.set(text, ordinal);
      return;
    }
    if (patternProblem(pattern) !== undefined) return;
    const candidate = { ordinal, glob: compileGlob(pattern) };
    const prefix = /^[^*?[\]\\]*/.exec(text)![0];
    const suffix = /[^*?[\]\\]*$/.exec(text)![0];
    if (suffix.length > prefix.length) this.#bySuffix.add(reversed(suffix), candidate);
    else this.#byPrefix.add(prefix, candidate);
  }

  /** The lowest ordinal that matches. */
  find(hostname: string): number | undefined {
    const host = normalise(hostname);
    let best = this.#exact.get(host) ?? Number.POSITIVE_INFINITY;
    best = this.#byPrefix.best(host, host, best);
    best = this.#bySuffix.best(reversed(host), host, best);
    return best === Number.POSITIVE_INFINITY ? undefined : best;
  }
}

const MATCHERS = new WeakMap<ConfigSnapshot, Matcher>();

/** The one entry of a host; undefined when none matches. */
export function entryFor(config: ConfigSnapshot, hostname: string): Entry | undefined {
  let matcher = MATCHERS.get(config);
  if (matcher === undefined) {
    matcher = new Matcher(config.entries);
    MATCHERS.set(config, matcher);
  }
  const ordinal = matcher.find(hostname);
  return ordinal === undefined ? undefined : config.entries[ordinal];
}

/** The pattern of the entry that matches the host. */
export function matchingPattern(entry: Entry, hostname: string): string | undefined {
  return entry.patterns.find(({ value }) => patternProblem(value) === undefined && compileGlob(value).matches(hostname))?.value;
}

/** Why a pattern is malformed. */
export function patternProblem(pattern: string): string | undefined {
  try {
    compileGlob(pattern);
    return undefined;
  } catch (thrown) {
    return messageOf(thrown);
  }
}

/** MATCH-1 for malformed patterns, MATCH-2 for entries that an earlier `*` or the same patterns hide. */
export function matchProblems(config: ConfigSnapshot): readonly Problem[] {
  const problems: Problem[] = [];
  const seen = new Map<string, Entry>();
  let all: Entry | undefined;
  for (const entry of config.entries) {
    let hidden: Entry | undefined = all;
    let reachable = false;
    for (const { value, at } of entry.patterns) {
      const message = patternProblem(value);
      if (message !== undefined) problems.push({ rule: 'MATCH-1', severity: 'error', message, at, entry: entry.id });
      const earlier = seen.get(normalise(value));
      if (earlier === undefined || earlier === entry) reachable = true;
      else hidden ??= earlier;
    }
    for (const { value } of entry.patterns) {
      if (!seen.has(normalise(value))) seen.set(normalise(value), entry);
    }
    if (hidden !== undefined && (hidden === all || !reachable))
      problems.push({
        rule: 'MATCH-2',
        severity: 'warning',
        message: `this entry is never reached: ${hidden.file}:${hidden.at.line} comes earlier and matches the same hosts`,
        at: entry.at,
        entry: entry.id,
      });
    if (entry.patterns.some(({ value }) => /^\*+\.?$/.test(value))) all ??= entry;
  }
  return problems;
}
