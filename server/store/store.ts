/** What the server keeps: narrow stores, and one transaction over all of them. Backends are dumb: they move rows, policy lives with the callers. */
import type { EnvoyId } from '../../core/base/ids.ts';
import type { Json, JsonObject } from '../../core/base/json.ts';
import type { RunReport } from '../../core/policy/outcome.ts';
import type { ConvergenceRecord } from '../fleet/convergence.ts';
import type { AuditStore, CheckpointStore } from './audit-rows.ts';
import type { DrainStore } from './drains.ts';
import type { MoveStore } from './moves.ts';
import type { OwnershipStore } from './ownerships.ts';
import type { PermitStore } from './permits.ts';
import type { RolloutStore } from './rollouts.ts';
import type { RosterLogStore, RosterStore } from './roster.ts';
import type { SiteAuditStore } from './site-audit.ts';
import type { SiteStore } from './site-row.ts';

export type { AuditFilter, AuditRow, AuditStore, CheckpointRow, CheckpointStore } from './audit-rows.ts';

/** `departed`: another site owns it now, and what is here waits until that one has seen it */
export const ENVOY_STATUSES = ['active', 'pending', 'revoked', 'departed'] as const;
export type EnvoyStatus = (typeof ENVOY_STATUSES)[number];

/** What enrolment decides; changes rarely and always in a transaction with its audit record. */
export interface EnvoyIdentity {
  readonly id: EnvoyId;
  readonly hostname: string;
  /** Ed25519, raw 32 bytes */
  readonly identityKey: Uint8Array;
  /** X25519, raw 32 bytes */
  readonly sealingKey: Uint8Array;
  readonly status: EnvoyStatus;
  readonly ownerEpoch: number;
  /** milliseconds since 1970, as all times here */
  readonly enrolledAt: number;
  readonly certificateExpiresAt: number;
  readonly platform: string;
  readonly agentVersion: string;
  /** address that enrolled it */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  /** why it waits, or why it was revoked; empty while active */
  readonly reason: string;
}

/** What check-ins and reports change: written behind, in batches. 0 and '' mean none yet. */
export interface EnvoyVolatile extends ConvergenceRecord {
  readonly id: EnvoyId;
  /** highest request sequence accepted */
  readonly sequence: number;
  readonly lastSeen: number;
  readonly release: number;
  /** hex; the policy the envoy enforces */
  readonly policyHash: string;
  readonly secretsEpoch: number;
  readonly heldSeq: number;
  /** hex of the newest header it said it holds */
  readonly heldHeaderHash: string;
  readonly traitsHash: string;
  /** bit set, see the fleet index */
  readonly flags: number;
}

export type EnvoyRow = EnvoyIdentity & EnvoyVolatile;

export interface EnvoyStore {
  /** Also takes the identity key for good. @throws HOSTNAME_TAKEN, KEY_ALREADY_ENROLLED */
  insert(envoy: EnvoyIdentity): Promise<void>;
  /** by id, in pages: safe to break off */
  all(): AsyncIterable<EnvoyRow>;
  byId(id: EnvoyId): Promise<EnvoyRow | undefined>;
  /** whoever brought this identity key, raw 32 bytes */
  byKey(identityKey: Uint8Array): Promise<EnvoyRow | undefined>;
  /** the active one, else the newest pending or revoked */
  byHostname(hostname: string): Promise<EnvoyRow | undefined>;
  /** unknown ids are ignored: they were removed meanwhile */
  saveBatch(batch: readonly EnvoyVolatile[]): Promise<void>;
  /** renewal, labels, approval by key: anything but the key and the hostname */
  update(id: EnvoyId, change: Partial<Omit<EnvoyIdentity, 'id' | 'identityKey' | 'hostname'>>): Promise<boolean>;
  /** false when nothing is known by that id */
  setStatus(id: EnvoyId, status: EnvoyStatus, reason: string): Promise<boolean>;
  /** the key stays taken, runs and audit stay */
  remove(id: EnvoyId): Promise<boolean>;
}

export interface TraitsChange {
  readonly envoyId: EnvoyId;
  /** hash the delta stands on; ignored when full */
  readonly baseHash?: string | undefined;
  readonly hash: string;
  readonly full: boolean;
  readonly set: JsonObject;
  readonly removed: readonly string[];
}

export interface TraitsStore {
  /** In order. Answers the envoys whose stored hash was not the base of a delta: nothing of theirs was merged, a full set is needed. */
  mergeBatch(batch: readonly TraitsChange[]): Promise<readonly EnvoyId[]>;
  of(envoyId: EnvoyId): Promise<{ readonly hash: string; readonly traits: JsonObject } | undefined>;
  /** one collector's value of all envoys that have it, by envoy id */
  collector(name: string): AsyncIterable<{ readonly envoyId: EnvoyId; readonly value: Json }>;
  remove(envoyId: EnvoyId): Promise<void>;
}

export interface EnrollToken {
  readonly id: string;
  /** bcrypt of the secret part */
  readonly secretHash: string;
  readonly pattern: string;
  readonly environment: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly note: string;
  /** at a hub: the hostname must be enrolled there; empty: anywhere */
  readonly spoke: string;
  /** at a spoke: what the hub allowed it by */
  readonly permit: string;
  readonly createdBy: string;
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface TokenUse {
  /** empty while another site makes it */
  readonly envoyId: EnvoyId | '';
  readonly hostname: string;
  /** hex SHA-256 of the identity key */
  readonly keyFingerprint: string;
  readonly address: string;
  readonly at: number;
  /** at a hub: the site that makes the envoy; empty at the site itself */
  readonly site: string;
}

export type EnrollTokenRow = EnrollToken & { readonly revokedAt: number; readonly spent?: TokenUse | undefined };

export interface TokenStore {
  add(token: EnrollToken): Promise<void>;
  byId(id: string): Promise<EnrollTokenRow | undefined>;
  /** newest first */
  list(limit: number, beforeId?: string): Promise<readonly EnrollTokenRow[]>;
  /** false when unknown, spent or revoked already */
  revoke(id: string, at: number): Promise<boolean>;
  /** Call it inside the transaction that inserts the envoy: exactly one caller ever gets true. Expired and revoked tokens cannot be spent. */
  spend(id: string, use: TokenUse): Promise<boolean>;
  /** Takes a use back that made nothing. False when it was another use, or its envoy is known. */
  unspend(id: string, keyFingerprint: string, site: string): Promise<boolean>;
  /** the envoy that another site made of a use */
  enrolled(id: string, keyFingerprint: string, envoyId: EnvoyId): Promise<void>;
  /** forgets tokens whose life ended before; answers how many */
  prune(expiredBefore: number): Promise<number>;
}

export interface StoredRun {
  /** envoy or device */
  readonly subject: EnvoyId;
  readonly hostname: string;
  readonly receivedAt: number;
  readonly report: RunReport;
}

/** Two envoys may name their runs alike. */
export function runKey(subject: EnvoyId, runId: string): string {
  return `${subject} ${runId}`;
}

export interface RunSummary {
  /** grows with arrival; what a cursor holds */
  readonly position: number;
  readonly runId: string;
  readonly subject: EnvoyId;
  readonly hostname: string;
  readonly receivedAt: number;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly mode: RunReport['mode'];
  readonly partial: string;
  readonly flags: readonly string[];
  readonly release: number;
  readonly bodyHash: string;
  readonly ok: number;
  readonly changed: number;
  readonly failed: number;
  readonly blocked: number;
  readonly skipped: number;
}

export interface RunFilter {
  readonly subject?: EnvoyId | undefined;
  readonly mode?: RunReport['mode'] | undefined;
  readonly startedSince?: number | undefined;
  readonly changed?: boolean | undefined;
  /** failed or blocked resources */
  readonly failed?: boolean | undefined;
  /** continues a listing: positions below this one */
  readonly before?: number | undefined;
}

export interface RunStore {
  /** One run of one subject is kept once: answers the keys ({@link runKey}) of those that were there before. */
  appendBatch(batch: readonly StoredRun[]): Promise<ReadonlySet<string>>;
  /** newest arrival first */
  list(filter: RunFilter, limit: number): Promise<readonly RunSummary[]>;
  /** run ids come from agents: two envoys may use the same; `report` is missing once retention has thinned it */
  byId(runId: string): Promise<readonly { readonly summary: RunSummary; readonly report?: RunReport | undefined }[]>;
  /** newest first, those whose report is still there */
  newest(subject: EnvoyId, limit: number): Promise<readonly StoredRun[]>;
  /** deletes details received before the first time and summaries received before the second; answers how many rows */
  retain(detailsSince: number, summariesSince: number): Promise<number>;
}

export const RELEASE_RESULTS = ['live', 'auto_rolled_back', 'superseded', 'rejected', 'expired'] as const;

/** One row of the publish history (config.md §11.5). */
export interface ReleaseRow {
  readonly number: number;
  readonly version: string;
  readonly root: string;
  readonly author: string;
  readonly approver: string;
  readonly message: string;
  readonly createdAt: number;
  readonly files: { readonly added: number; readonly changed: number; readonly removed: number };
  readonly entriesAffected: number;
  readonly envoysAffected: number;
  readonly warnings: number;
  readonly flags: readonly ('dangerous' | 'skip_url_check' | 'break_glass')[];
  /** 0: no rollback */
  readonly rollbackOf: number;
  readonly result: (typeof RELEASE_RESULTS)[number];
  readonly watch?: { readonly baseline: number; readonly lowest: number; readonly final: number } | undefined;
}

export interface ReleaseStore {
  add(row: ReleaseRow): Promise<void>;
  byNumber(number: number): Promise<ReleaseRow | undefined>;
  /** newest first */
  list(limit: number, before?: number): Promise<readonly ReleaseRow[]>;
  update(number: number, change: Pick<Partial<ReleaseRow>, 'result' | 'watch'>): Promise<boolean>;
  /** the live one becomes `superseded`, the named one `live` */
  makeLive(number: number): Promise<void>;
}

/** Numbers that only grow and are never given out twice. */
export interface CounterStore {
  get(name: string): Promise<number>;
  /** the next number: above the stored one and at least `atLeast` */
  next(name: string, atLeast?: number): Promise<number>;
  /** stores the number when it is higher; answers the stored one */
  raise(name: string, value: number): Promise<number>;
  /** the number first given to this text, else the next one (secrets epochs by digest, config.md §9.3) */
  numberOf(name: string, text: string): Promise<number>;
}

export interface ApiToken {
  readonly id: string;
  readonly name: string;
  readonly userId: string;
  /** hex SHA-256 of the secret part */
  readonly secretHash: string;
  readonly scopes: readonly string[];
  readonly createdAt: number;
  readonly expiresAt: number;
}

export type ApiTokenRow = ApiToken & { readonly lastUsedAt: number; readonly lastUsedFrom: string };

export interface ApiTokenStore {
  add(token: ApiToken): Promise<void>;
  byId(id: string): Promise<ApiTokenRow | undefined>;
  list(userId?: string): Promise<readonly ApiTokenRow[]>;
  remove(id: string): Promise<boolean>;
  used(id: string, at: number, address: string): Promise<void>;
}

export interface UserRow {
  readonly id: string;
  readonly username: string;
  readonly displayName: string;
  readonly email: string;
  readonly role: string;
  readonly enabled: boolean;
  /** scrypt, as text; empty: cannot sign in with a password */
  readonly passwordHash: string;
  readonly scope: JsonObject;
  readonly createdAt: number;
  readonly lastLoginAt: number;
}

export interface UserStore {
  /** @throws BAD_REQUEST when the name is taken */
  add(user: UserRow): Promise<void>;
  byId(id: string): Promise<UserRow | undefined>;
  byName(username: string): Promise<UserRow | undefined>;
  list(): Promise<readonly UserRow[]>;
  update(id: string, change: Partial<Omit<UserRow, 'id' | 'username'>>): Promise<boolean>;
  /** removes the tokens too */
  remove(id: string): Promise<boolean>;
}

/** All narrow stores, outside or inside one transaction. */
export interface Tables {
  readonly envoys: EnvoyStore;
  readonly ownerships: OwnershipStore;
  readonly permits: PermitStore;
  readonly traits: TraitsStore;
  readonly tokens: TokenStore;
  readonly runs: RunStore;
  readonly audit: AuditStore;
  readonly checkpoints: CheckpointStore;
  readonly releases: ReleaseStore;
  readonly rollouts: RolloutStore;
  readonly siteAudit: SiteAuditStore;
  readonly counters: CounterStore;
  readonly drains: DrainStore;
  readonly moves: MoveStore;
  readonly roster: RosterStore;
  readonly rosterLog: RosterLogStore;
  readonly apiTokens: ApiTokenStore;
  readonly users: UserStore;
  readonly sites: SiteStore;
}

export interface Store extends Tables {
  /** All or nothing, durable when it answers. Inside, use `tx` alone: SQLite has one connection, the outer store would wait for itself. */
  transaction<T>(work: (tx: Tables) => Promise<T>): Promise<T>;
  /** a consistent copy while running (SQLite only) */
  snapshot(toFile: string): Promise<void>;
  sizeBytes(): Promise<number>;
  close(): Promise<void>;
}
