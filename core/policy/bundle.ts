/** Signed bundle headers and site heads: how a server makes them and by which rules an agent accepts them (config.md §13.2-13.4). */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { CodedError } from '../base/errors.ts';
import { canonicalBytes } from '../base/json.ts';
import { assertUsable, type DelegationScope, type TrustedKey } from '../crypto/delegation.ts';
import { type Domain, signFor, verifyFor } from '../crypto/domain.ts';
import type { SigningKey } from '../crypto/ed25519.ts';

export const ZERO_HASH = '0'.repeat(64);
const MAX_HEADER_BYTES = 8 * 1024;
/** How far the clock of a server may run ahead of this one. */
const AHEAD_MS = 10 * 60_000;
const counter = z.number().int().nonnegative();
const hash = z.string().regex(/^[0-9a-f]{64}$/);

const headerSchema = z.object({
  kind: z.enum(['bundle', 'renew', 'no_policy']),
  fleet_id: z.string(),
  envoy_id: z.string(),
  site_id: z.string(),
  server_id: z.string(),
  owner_epoch: counter,
  epoch: counter,
  seq: counter,
  release: counter,
  body_sha256: hash,
  body_len: counter,
  policy_hash: hash,
  issued_at: z.iso.datetime(),
  expires_at: z.iso.datetime().nullable(),
  /** hash of the header the agent held, or 64 zeros */
  prev: hash,
  observe: z.boolean(),
  explicit_empty: z.boolean(),
  key_id: z.string(),
  /** why there is no policy: no_match */
  reason: z.string().optional(),
  /** names of members that a reader must understand; an unknown one refuses the header */
  critical: z.array(z.string()).optional(),
});
export type BundleHeader = z.output<typeof headerSchema>;

const headSchema = z.object({
  fleet_id: z.string(),
  site_id: z.string(),
  server_id: z.string(),
  epoch: counter,
  release: counter,
  root: z.string(),
  issued_at: z.iso.datetime(),
  expires_at: z.iso.datetime(),
});
export type SiteHead = z.output<typeof headSchema>;

/** Canonical JSON bytes and the signature over their domain. */
export interface SignedBytes {
  readonly record: Uint8Array;
  readonly signature: Uint8Array;
}

export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function signHeader(key: SigningKey, header: BundleHeader): SignedBytes {
  const record = canonicalBytes(header);
  return { record, signature: signFor('bundle', key, record) };
}

export function signHead(key: SigningKey, head: SiteHead): SignedBytes {
  const record = canonicalBytes(head);
  return { record, signature: signFor('head', key, record) };
}

function reject(reason: string, details?: Readonly<Record<string, unknown>>): CodedError {
  return new CodedError('BUNDLE_REJECTED', reason, { details });
}

function open<T>(domain: Domain, schema: z.ZodType<T>, key: TrustedKey, signed: SignedBytes): T {
  if (signed.record.length > MAX_HEADER_BYTES) throw reject('header_too_large');
  if (!verifyFor(domain, key.publicKey, signed.record, signed.signature)) throw reject('bad_signature');
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(signed.record).toString('utf8'));
  } catch (cause) {
    throw new CodedError('BUNDLE_REJECTED', 'header_not_json', { cause });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new CodedError('BUNDLE_REJECTED', 'header_shape', { cause: parsed.error });
  return parsed.data;
}

/** What an agent knows of itself and of time when it judges a header. */
export interface Judge {
  readonly fleetId: string;
  readonly envoyId: string;
  readonly siteId: string;
  readonly now: number;
  readonly revokedSerials: ReadonlySet<string>;
  /** the delegated key of a key id, or undefined */
  trustedKey(keyId: string): TrustedKey | undefined;
}

/** The last accepted header of any kind, with the hash of its bytes. */
export interface HeldHeader {
  readonly header: BundleHeader;
  readonly hash: string;
}

function trusted(judge: Judge, keyId: string, scope: DelegationScope): TrustedKey {
  const key = judge.trustedKey(keyId);
  if (key === undefined) throw reject('unknown_key');
  assertUsable(key, { scope, now: judge.now, revokedSerials: judge.revokedSerials, siteId: judge.siteId });
  return key;
}

/** Lexicographic order of (owner_epoch, epoch, seq). */
function compareOrder(a: BundleHeader, b: BundleHeader): number {
  return a.owner_epoch - b.owner_epoch || a.epoch - b.epoch || a.seq - b.seq;
}

const KNOWN_MEMBERS = new Set(Object.keys(headerSchema.shape));

/**
 * Rules 1-5 of config.md §13.3, in order. `unchanged` = the very header that is held.
 * @throws CodedError BUNDLE_REJECTED; its message is the machine reason, `details.equivocation` marks two headers of one sequence number
 */
export function acceptHeader(
  held: HeldHeader | undefined,
  keyId: string,
  signed: SignedBytes,
  judge: Judge,
): { readonly status: 'accepted' | 'unchanged'; readonly header: BundleHeader; readonly hash: string; readonly clockSkew: boolean } {
  const header = open('bundle', headerSchema, trusted(judge, keyId, 'bundle'), signed);
  if (header.key_id !== keyId) throw reject('key_id_mismatch');
  const unknown = (header.critical ?? []).find((name) => !KNOWN_MEMBERS.has(name));
  if (unknown !== undefined) throw reject('unknown_critical_member');
  if (header.fleet_id !== judge.fleetId) throw reject('other_fleet');
  if (header.envoy_id !== judge.envoyId) throw reject('other_envoy');
  if (header.site_id !== judge.siteId) throw reject('other_site');
  if (!Number.isSafeInteger(header.seq)) throw reject('seq_out_of_range');
  if (header.expires_at !== null && Date.parse(header.expires_at) <= Date.parse(header.issued_at)) throw reject('dates');
  const headerHash = sha256Hex(signed.record);
  const clockSkew = Date.parse(header.issued_at) > judge.now + AHEAD_MS;
  if (held !== undefined) {
    const order = compareOrder(header, held.header);
    if (order === 0 && headerHash === held.hash) return { status: 'unchanged', header, hash: headerHash, clockSkew };
    if (order === 0) throw reject('equivocation', { equivocation: true });
    if (order < 0)
      throw reject(
        header.owner_epoch < held.header.owner_epoch ? 'lower_owner_epoch' : header.epoch < held.header.epoch ? 'lower_epoch' : 'lower_seq',
      );
    const sameReign = header.owner_epoch === held.header.owner_epoch && header.epoch === held.header.epoch;
    if (sameReign && header.release < held.header.release) throw reject('lower_release');
    if (header.prev !== held.hash && (sameReign || header.prev !== ZERO_HASH)) throw reject('prev_mismatch');
  } else if (header.prev !== ZERO_HASH) {
    throw reject('prev_mismatch');
  }
  return { status: 'accepted', header, hash: headerHash, clockSkew };
}

/** The site head that a `no_change` carries. @throws CodedError BUNDLE_REJECTED */
export function acceptHead(held: BundleHeader, newestHeadAt: number, keyId: string, signed: SignedBytes, judge: Judge): SiteHead {
  const head = open('head', headSchema, trusted(judge, keyId, 'bundle'), signed);
  if (head.fleet_id !== judge.fleetId || head.site_id !== held.site_id) throw reject('head_of_another_site');
  if (head.epoch !== held.epoch) throw reject('head_of_another_epoch');
  if (head.release !== held.release) throw reject('head_of_another_release');
  // one from the future would prove currency later, and make every honest head look old until then
  if (Date.parse(head.issued_at) > judge.now + AHEAD_MS) throw reject('head_from_the_future');
  if (Date.parse(head.issued_at) < newestHeadAt) throw reject('head_older_than_seen');
  if (Date.parse(head.expires_at) < judge.now) throw reject('head_expired');
  return head;
}
