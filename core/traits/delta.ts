/** What changed between two sets of traits, by top-level collector (server.md §6, CheckIn). */
import { createHash } from 'node:crypto';
import { CodedError } from '../base/errors.ts';
import { canonicalBytes, canonicalJson, type Json } from '../base/json.ts';

export type Traits = Readonly<Record<string, Json>>;

export interface TraitsDelta {
  /** the hash of the traits it applies to; none when `full` */
  readonly base_hash?: string;
  /** the hash of the result */
  readonly hash: string;
  /** `set` is all there is */
  readonly full: boolean;
  readonly set: Readonly<Record<string, Json>>;
  readonly removed: readonly string[];
}

/** SHA-256 hex of the canonical JSON. */
export function traitsHash(traits: Traits): string {
  return createHash('sha256').update(canonicalBytes(traits)).digest('hex');
}

/** Collectors are ordinary keys, `__proto__` included. */
function emptyTraits(): Record<string, Json> {
  return Object.create(null) as Record<string, Json>;
}

export function deltaOf(before: Traits | undefined, after: Traits): TraitsDelta {
  const hash = traitsHash(after);
  const set = emptyTraits();
  for (const name of Object.keys(after)) {
    if (before === undefined || !Object.hasOwn(before, name) || canonicalJson(before[name]) !== canonicalJson(after[name]))
      set[name] = after[name]!;
  }
  if (before === undefined) return { hash, full: true, set, removed: [] };
  const removed = Object.keys(before).filter((name) => !Object.hasOwn(after, name));
  return { base_hash: traitsHash(before), hash, full: false, set, removed: removed.sort() };
}

/**
 * The traits after the delta.
 * @throws CodedError PRECONDITION_FAILED when the base differs; the sender then sends all. BAD_REQUEST when the result has another hash
 */
export function applyDelta(base: Traits | undefined, delta: TraitsDelta): Traits {
  if (!delta.full && (base === undefined || traitsHash(base) !== delta.base_hash))
    throw new CodedError('PRECONDITION_FAILED', 'the traits delta has another base', { hint: 'send all traits' });
  const result = emptyTraits();
  if (!delta.full) for (const name of Object.keys(base!)) if (!delta.removed.includes(name)) result[name] = base![name]!;
  for (const name of Object.keys(delta.set)) result[name] = delta.set[name]!;
  if (traitsHash(result) !== delta.hash) throw new CodedError('BAD_REQUEST', 'the traits after the delta have another hash than announced');
  return result;
}
