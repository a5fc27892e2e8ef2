/** What a check-in answer does to the held policy: verify, persist, use, in that order (config.md §13.3). A refused answer changes nothing. */
import { z } from 'zod';
import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/errors.ts';
import type { Logger } from '../core/base/log.ts';
import { BODY_SCHEMA, bodySchema } from '../core/policy/body.ts';
import { acceptHead, acceptHeader, type BundleHeader, type HeldHeader, type Judge, sha256Hex } from '../core/policy/bundle.ts';
import type { AgentIdentity } from './enroll/identity.ts';
import { ownerInUse } from './link/owner.ts';
import type { Authority, CheckInReply } from './link/server-link.ts';
import type { TrustStore } from './link/trust.ts';
import type { HeldPolicy, StateStore } from './state/state-store.ts';

const authoritySchema: z.ZodType<Authority> = z.looseObject({
  observe: z.boolean(),
  secrets_epoch: z.number(),
  servers: z.array(z.string()),
  fallback_servers: z.array(z.string()),
  offline_policy: z.enum(['continue', 'stop']),
  queue_max_runs: z.number(),
  queue_max_size: z.number(),
  bundle_max_age_s: z.number(),
  revoked: z.array(z.object({ record: z.string(), signature: z.string() })),
}) as never;

export interface IntakeParts {
  readonly identity: AgentIdentity;
  readonly trust: TrustStore;
  readonly state: StateStore;
  readonly clock: Clock;
  readonly log: Logger;
}

function judgeOf({ identity, trust, state, clock }: IntakeParts, offsetMs: number): Judge {
  return {
    fleetId: identity.fleetId,
    envoyId: identity.envoyId,
    siteId: ownerInUse(state.facts.get('owner'), identity).siteId,
    now: clock.now() + offsetMs,
    revokedSerials: trust.revokedSerials,
    trustedKey: (keyId) => trust.key(keyId),
  };
}

/** The newest authoritative directive, or undefined before the first answer. */
export function heldAuthority(state: StateStore): Authority | undefined {
  const text = state.facts.get('authority');
  if (text === undefined || text === '') return undefined;
  const parsed = authoritySchema.safeParse(JSON.parse(text));
  return parsed.success ? parsed.data : undefined;
}

/** Exactly these bytes as text: what is kept must still have its hash. */
function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CodedError('BUNDLE_REJECTED', 'body_not_json', { cause });
  }
}

function parsedJson(text: string, reason: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CodedError('BUNDLE_REJECTED', reason, { cause });
  }
}

function shaped<T>(schema: z.ZodType<T>, json: unknown, reason: string): T {
  try {
    return schema.parse(json);
  } catch (cause) {
    // a shape that does not fit, or one so deep that looking at it ends in a RangeError
    throw new CodedError('BUNDLE_REJECTED', reason, { cause });
  }
}

/** A body that is what its header says. @throws CodedError BUNDLE_REJECTED */
function openBody(header: BundleHeader, bytes: Uint8Array | undefined): NonNullable<HeldPolicy['body']> {
  if (bytes === undefined || bytes.length !== header.body_len) throw new CodedError('BUNDLE_REJECTED', 'body_length');
  if (sha256Hex(bytes) !== header.body_sha256) throw new CodedError('BUNDLE_REJECTED', 'body_hash');
  const text = utf8(bytes);
  const body = shaped(bodySchema, parsedJson(text, 'body_not_json'), 'body_schema');
  if (body.schema !== BODY_SCHEMA || body.release !== header.release) throw new CodedError('BUNDLE_REJECTED', 'body_release');
  if (body.module_count !== body.modules.length) throw new CodedError('BUNDLE_REJECTED', 'module_count');
  if (body.module_count === 0 && !header.explicit_empty) throw new CodedError('BUNDLE_REJECTED', 'empty_without_consent');
  return { sha256: header.body_sha256, policyHash: header.policy_hash, body, text };
}

/** What the present owner's headers are compared with. The grant ended the time of the site before, whatever epochs that one claimed. */
function rivalOf({ header, headerHash }: HeldPolicy, { identity, state }: IntakeParts): HeldHeader {
  const { siteId, ownerEpoch } = ownerInUse(state.facts.get('owner'), identity);
  if (header.site_id === siteId) return { header, hash: headerHash };
  return { header: { ...header, owner_epoch: Math.min(header.owner_epoch, ownerEpoch - 1) }, hash: headerHash };
}

/** Takes one answer. @throws CodedError BUNDLE_REJECTED: the held policy stays */
export async function takeReply(reply: CheckInReply, offsetMs: number, parts: IntakeParts): Promise<void> {
  const { state, trust } = parts;
  if (reply.kind === 'wait') return;
  const held = state.policy.held();
  const judge = judgeOf(parts, offsetMs);
  if (reply.kind === 'no_change') {
    if (held === undefined) throw new CodedError('BUNDLE_REJECTED', 'no_change_for_nothing');
    // heads are issued at whole seconds, headers at milliseconds
    const newest = Math.floor((state.facts.get('provenAt') ?? 0) / 1000) * 1000;
    const head = acceptHead(held.header, newest, reply.keyId, reply.head, judge);
    await state.facts.set('provenAt', Math.max(state.facts.get('provenAt') ?? 0, Date.parse(head.issued_at)));
    return;
  }
  const authority = shaped(authoritySchema, parsedJson(reply.authority, 'authority_shape'), 'authority_shape');
  const accepted = acceptHeader(held === undefined ? undefined : rivalOf(held, parts), reply.keyId, reply.header, judge);
  await trust.learnRevocations(authority.revoked);
  if (accepted.status === 'accepted') {
    await state.policy.keep({
      header: accepted.header,
      headerHash: accepted.hash,
      body: nextBody(held, accepted.header, reply),
      receivedAt: parts.clock.now(),
    });
  }
  await state.facts.set('authority', reply.authority);
  // a header from the future is taken and flagged, but proves nothing beyond now: later heads would all look old
  const proven = Math.min(judge.now, Date.parse(accepted.header.issued_at));
  // the clock of another site proves nothing about the heads of this one
  const before = held === undefined || held.header.site_id === accepted.header.site_id ? (state.facts.get('provenAt') ?? 0) : 0;
  await state.facts.set('provenAt', Math.max(before, proven));
  await state.facts.set('noPolicy', accepted.header.kind === 'no_policy' ? (accepted.header.reason ?? 'no_match') : '');
  await state.facts.set('bundleRejected', '');
}

function nextBody(
  held: HeldPolicy | undefined,
  header: BundleHeader,
  reply: Extract<CheckInReply, { kind: 'bundle' | 'renew' | 'no_policy' }>,
): HeldPolicy['body'] {
  if (header.kind !== reply.kind) throw new CodedError('BUNDLE_REJECTED', 'kind_mismatch');
  if (header.kind === 'bundle') return openBody(header, reply.body);
  if (header.kind === 'no_policy') return held?.body;
  if (held?.body === undefined || held.body.policyHash !== header.policy_hash)
    throw new CodedError('BUNDLE_REJECTED', 'renew_of_another_policy');
  return held.body;
}

/** Age of the held header by three clocks: this machine's since receipt, one that never jumps, and the server's as far as it is known. */
export interface HeaderAge {
  /** this machine's clock */
  readonly now: number;
  /** what the server's clock is ahead of it, as the server says */
  readonly offsetMs: number;
  /** since receipt, within this process */
  readonly monotonicMs: number;
}

/**
 * True past this share of its life, judged by the largest of the three (config.md §13.6). A clock that is a year off does not age a header that came just
 * now, and a server that lies about the time cannot keep an old one young.
 */
export function isOlderThan(share: number, held: HeldPolicy, age: HeaderAge): boolean {
  if (held.header.expires_at === null) return false;
  const issued = Date.parse(held.header.issued_at);
  const life = Date.parse(held.header.expires_at) - issued;
  return Math.max(age.now + age.offsetMs - issued, age.now - held.receivedAt, age.monotonicMs) > life * share;
}

export function isStale(held: HeldPolicy, age: HeaderAge): boolean {
  return isOlderThan(1, held, age);
}
