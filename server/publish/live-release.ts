/** A release in memory: one finished body an entry, found by host name. */
import { createHash } from 'node:crypto';
import { Matcher } from '../../core/config/match.ts';
import type { CompiledTree, FinishedBody } from './messages.ts';
import type { StoredRelease } from './releases.ts';

export interface ReleaseEntry {
  readonly entry: string;
  readonly body: Uint8Array;
  readonly bodySha256: string;
  readonly policyHash: string;
  readonly secretsEpoch: number;
  readonly secretRefs: readonly string[];
  readonly observe: boolean;
  readonly moduleCount: number;
  readonly environment: string | null;
  /** where the entry is declared */
  readonly file: string;
  readonly line: number;
}

export interface LiveRelease {
  readonly number: number;
  readonly version: string;
  readonly root: string;
  /** milliseconds since 1970 */
  readonly createdAt: number;
  /** in matching order, by `file#index` */
  readonly entries: ReadonlyMap<string, ReleaseEntry>;
  readonly stored: StoredRelease;
  entryFor(hostname: string): ReleaseEntry | undefined;
  entryIdFor(hostname: string): string | undefined;
  environmentOf(entryId: string): string | null;
}

export function liveRelease(
  stored: StoredRelease,
  tree: CompiledTree,
  epochs: Readonly<Record<string, number>>,
  bodies: readonly FinishedBody[],
): LiveRelease {
  const finished = new Map(bodies.map((body) => [body.entry, body]));
  const entries = new Map<string, ReleaseEntry>();
  for (const summary of tree.entries) {
    const { body, bodySha256 } = finished.get(summary.id)!;
    const { policyHash, secretRefs, observe, moduleCount, environment, file, line } = summary;
    const secretsEpoch = epochs[summary.id] ?? 0;
    entries.set(summary.id, {
      entry: summary.id,
      body,
      bodySha256,
      policyHash,
      secretsEpoch,
      secretRefs,
      observe,
      moduleCount,
      environment,
      file,
      line,
    });
  }
  const matcher = new Matcher(tree.entries);
  const entryIdFor = (hostname: string) => tree.entries[matcher.find(hostname) ?? -1]?.id;
  const { number, version, root, created_at: createdAt } = stored.manifest;
  return {
    number,
    version,
    root,
    createdAt: Date.parse(createdAt),
    entries,
    stored,
    entryIdFor,
    entryFor: (hostname) => entries.get(entryIdFor(hostname) ?? ''),
    environmentOf: (entryId) => entries.get(entryId)?.environment ?? null,
  };
}

/** `20260313T143000Z` */
export function versionText(now: number): string {
  return new Date(now)
    .toISOString()
    .replace(/\.\d{3}/, '')
    .replaceAll(/[-:]/g, '');
}

/** For names of work directories: nobody else may guess or reuse them. */
export function workName(seed: string): string {
  return `publish-${createHash('sha256').update(seed).digest('hex').slice(0, 16)}`;
}
