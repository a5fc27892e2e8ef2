/** The live release as the accepting threads see it: bytes in shared memory, one row an entry, everything precomputed. */
import { createHash } from 'node:crypto';
import { canonicalBytes } from '../../core/base/json.ts';

/** What publish gives for each entry (server/publish). */
export interface EntryPolicy {
  readonly entry: string;
  readonly body: Uint8Array;
  readonly bodySha256: string;
  readonly policyHash: string;
  readonly secretsEpoch: number;
  readonly observe: boolean;
  readonly moduleCount: number;
}

export interface EntryRow {
  readonly entry: string;
  readonly body: Uint8Array;
  readonly bodySha256: string;
  readonly policyHash: string;
  readonly policyHashBytes: Uint8Array;
  readonly secretsEpoch: number;
  readonly observe: boolean;
  readonly explicitEmpty: boolean;
  /** canonical JSON of the authoritative directive */
  readonly authority: Uint8Array;
  readonly authorityHash: Uint8Array;
}

export interface ReleaseTable {
  readonly generation: number;
  readonly number: number;
  readonly version: string;
  readonly root: string;
  readonly entries: readonly EntryRow[];
  /** for envoys without a match */
  readonly unmatched: { readonly authority: Uint8Array; readonly authorityHash: Uint8Array };
}

/** The part of the directive that carries authority (server.md §8.3): the same for all envoys of an entry. */
export interface SiteAuthority {
  readonly servers: readonly string[];
  readonly fallback_servers: readonly string[];
  readonly offline_policy: 'continue' | 'stop';
  readonly queue_max_runs: number;
  readonly queue_max_size: number;
  readonly bundle_max_age_s: number;
  readonly revoked: readonly { readonly record: string; readonly signature: string }[];
}

function shared(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

function authorityOf(site: SiteAuthority, observe: boolean, secretsEpoch: number): { authority: Uint8Array; authorityHash: Uint8Array } {
  const authority = canonicalBytes({ ...site, observe, secrets_epoch: secretsEpoch });
  return { authority, authorityHash: createHash('sha256').update(authority).digest() };
}

export function buildReleaseTable(
  release: { readonly number: number; readonly version: string; readonly root: string; readonly entries: readonly EntryPolicy[] },
  site: SiteAuthority,
  options: { readonly generation: number; readonly observeAll: boolean },
): ReleaseTable {
  const entries = release.entries.map((policy): EntryRow => {
    const observe = policy.observe || options.observeAll;
    return {
      entry: policy.entry,
      body: shared(policy.body),
      bodySha256: policy.bodySha256,
      policyHash: policy.policyHash,
      policyHashBytes: Buffer.from(policy.policyHash, 'hex'),
      secretsEpoch: policy.secretsEpoch,
      observe,
      explicitEmpty: policy.moduleCount === 0,
      ...authorityOf(site, observe, policy.secretsEpoch),
    };
  });
  return {
    generation: options.generation,
    number: release.number,
    version: release.version,
    root: release.root,
    entries,
    unmatched: authorityOf(site, options.observeAll, 0),
  };
}
