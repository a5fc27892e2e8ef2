/** What an agent says to its server, and what it hears; everything is signed, and verified before it is returned. */
import type { Json } from '../../core/base/json.ts';
import type { SignedRecord } from '../../core/crypto/delegation.ts';
import type { SignedBytes } from '../../core/policy/bundle.ts';
import type { RunReport } from '../../core/policy/outcome.ts';
import type { TraitsDelta } from '../../core/traits/delta.ts';

export interface CheckIn {
  readonly release: number;
  readonly bodySchema: number;
  readonly policyHash: string;
  readonly heldHeaderHash: string;
  readonly heldSeq: number;
  readonly secretsEpoch: number;
  readonly traits: TraitsDelta;
  readonly pendingResults: number;
  readonly mode: string;
  readonly flags: readonly string[];
  readonly authorityHash: string;
  readonly renew: boolean;
  readonly bundleRejected: string;
}

/** Hints; nothing here has authority. */
export interface Hints {
  readonly nextMs: number;
  readonly keepConnection: boolean;
  readonly fullTraits: boolean;
  readonly serverTimeMs: number;
  readonly jitterPct: number;
}

export type CheckInReply = { readonly hints: Hints } & (
  | { readonly kind: 'no_change'; readonly keyId: string; readonly head: SignedBytes }
  | { readonly kind: 'wait'; readonly retryAfterMs: number }
  | {
      readonly kind: 'renew' | 'bundle' | 'no_policy';
      readonly keyId: string;
      readonly header: SignedBytes;
      /** of a bundle; fetched over REST when it did not come inline. Not judged yet: the hash is the header's business */
      readonly body: Uint8Array | undefined;
      /** canonical JSON of the authoritative directive: its signature holds */
      readonly authority: string;
    }
);

export interface SealedAnswer {
  readonly enc: Uint8Array;
  readonly ct: Uint8Array;
  readonly nonce: Uint8Array;
  readonly secretsEpoch: number;
  /** the site that sealed them */
  readonly siteId: string;
}

export type ReportResult = 'accepted' | 'duplicate' | 'unknown_result' | 'refused';

export interface ServerLink {
  /** @throws CodedError UNREACHABLE, or what the server answered */
  checkIn(message: CheckIn, signal: AbortSignal): Promise<CheckInReply>;
  /** @param heartbeat hash of the newest full report, hex; alone = nothing changed since */
  report(reports: readonly RunReport[], heartbeat: string | undefined, signal: AbortSignal): Promise<readonly ReportResult[]>;
  resolveSecrets(bodySha256: string, refs: readonly string[], signal: AbortSignal): Promise<SealedAnswer>;
  /** host:port of the server in use */
  readonly server: string;
  /** milliseconds to add to this clock to get the server's */
  readonly clockOffsetMs: number;
  close(): void;
}

/** The authoritative directive (server.md §8.3). */
export interface Authority {
  readonly observe: boolean;
  readonly secrets_epoch: number;
  readonly servers: readonly string[];
  readonly fallback_servers: readonly string[];
  readonly offline_policy: 'continue' | 'stop';
  readonly queue_max_runs: number;
  readonly queue_max_size: number;
  readonly bundle_max_age_s: number;
  readonly revoked: readonly SignedRecord[];
  readonly [key: string]: Json | readonly SignedRecord[];
}
