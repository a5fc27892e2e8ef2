/** What an agent remembers over restarts. Every write is durable when its promise resolves. */
import { z } from 'zod';
import type { Json } from '../../core/base/json.ts';
import type { Body } from '../../core/policy/body.ts';
import type { BundleHeader } from '../../core/policy/bundle.ts';
import type { RunReport } from '../../core/policy/outcome.ts';
import type { Owner } from '../link/owner.ts';

/** `text` is what was signed: a later version's members, which `body` leaves out, are part of its hash. */
export interface HeldBody {
  readonly sha256: string;
  readonly policyHash: string;
  readonly body: Body;
  readonly text: string;
}

/** The last accepted header of any kind, and the body of the last bundle. */
export interface HeldPolicy {
  readonly header: BundleHeader;
  readonly headerHash: string;
  /** undefined while the server only ever said `no_policy` */
  readonly body: HeldBody | undefined;
  /** milliseconds since 1970 */
  readonly receivedAt: number;
}

/** Sealed answers of ResolveSecrets, kept for offline convergence: never plaintext. */
export const sealedSecretsSchema = z.object({
  enc: z.string(),
  ct: z.string(),
  nonce: z.string(),
  body_sha256: z.string(),
  secrets_epoch: z.number(),
  refs: z.array(z.string()),
  /** who sealed them; absent: the site of the enrolment */
  site_id: z.string().optional(),
});
export type KeptSecrets = z.output<typeof sealedSecretsSchema>;

/** Small facts, one row a name. */
export interface Facts {
  /** last used request sequence number */
  sequence: number;
  /** milliseconds since 1970 of the newest accepted site head */
  provenAt: number;
  /** canonical JSON of the newest authoritative directive */
  authority: string;
  nextMs: number;
  jitterPct: number;
  delegations: { readonly record: string; readonly signature: string }[];
  revocations: { readonly record: string; readonly signature: string }[];
  droppedResults: number;
  /** run that started and has not reported: reported as aborted at the next start */
  openRun: { readonly runId: string; readonly startedAt: number; readonly mode: string } | null;
  bundleRejected: string;
  clockSkewMs: number;
  revoked: boolean;
  noPolicy: string;
  /** the newest grant that was followed */
  owner: Owner;
  /** two sites were named owner with one epoch: told in the next check-in */
  ownerEquivocation: boolean;
}

export interface TraitsRecord {
  readonly traits: Readonly<Record<string, Json>>;
  readonly hash: string;
  /** milliseconds since 1970 */
  readonly collectedAt: number;
}

export interface PendingTrigger {
  readonly module: string;
  readonly resource: string;
  /** `module/resource` of what changed */
  readonly by: readonly string[];
}

export interface StateStore {
  readonly policy: {
    held(): HeldPolicy | undefined;
    /** header (and body, for a bundle) in one transaction */
    keep(policy: HeldPolicy): Promise<void>;
  };
  readonly facts: {
    get<K extends keyof Facts>(name: K): Facts[K] | undefined;
    set<K extends keyof Facts>(name: K, value: Facts[K]): Promise<void>;
  };
  readonly results: {
    /** drops the oldest all-ok runs first when the limits are exceeded, and counts them */
    queue(report: RunReport, limits: { readonly maxRuns: number; readonly maxBytes: number }): Promise<void>;
    /** oldest first */
    pending(limit: number, maxBytes: number): readonly RunReport[];
    forget(runIds: readonly string[]): Promise<void>;
    count(): number;
  };
  readonly traits: { last(): TraitsRecord | undefined; keep(record: TraitsRecord): Promise<void> };
  readonly triggers: { pending(): readonly PendingTrigger[]; keep(triggers: readonly PendingTrigger[]): Promise<void> };
  readonly secrets: { kept(): KeptSecrets | undefined; keep(secrets: KeptSecrets | undefined): Promise<void> };
  /** settled reverts and values recorded before the first change, by resource key */
  readonly memory: { get(key: string): string | undefined; set(key: string, value: string | undefined): Promise<void> };
  close(): Promise<void>;
}
