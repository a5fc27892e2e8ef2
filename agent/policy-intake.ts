/** What a check-in answer does to the held policy: verify, persist, use, in that order (config.md §13.3). A refused answer changes nothing. */
import { z } from 'zod';
import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/errors.ts';
import type { Logger } from '../core/base/log.ts';
import { BODY_SCHEMA, bodySchema } from '../core/policy/body.ts';
import { acceptHead, acceptHeader, type BundleHeader, type Judge, sha256Hex } from '../core/policy/bundle.ts';
import type { AgentIdentity } from './enroll/identity.ts';
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

function judgeOf({ identity, trust, clock }: IntakeParts, offsetMs: number): Judge {
  return {
    fleetId: identity.fleetId,
    envoyId: identity.envoyId,
    siteId: identity.siteId,
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

/** A body that is what its header says. @throws CodedError BUNDLE_REJECTED */
function openBody(header: BundleHeader, bytes: Uint8Array | undefined): NonNullable<HeldPolicy['body']> {
  if (bytes === undefined || bytes.length !== header.body_len) throw new CodedError('BUNDLE_REJECTED', 'body_length');
  if (sha256Hex(bytes) !== header.body_sha256) throw new CodedError('BUNDLE_REJECTED', 'body_hash');
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new CodedError('BUNDLE_REJECTED', 'body_not_json', { cause });
  }
  const parsed = bodySchema.safeParse(json);
  if (!parsed.success) throw new CodedError('BUNDLE_REJECTED', 'body_schema', { cause: parsed.error });
  const body = parsed.data;
  if (body.schema !== BODY_SCHEMA || body.release !== header.release) throw new CodedError('BUNDLE_REJECTED', 'body_release');
  if (body.module_count !== body.modules.length) throw new CodedError('BUNDLE_REJECTED', 'module_count');
  if (body.module_count === 0 && !header.explicit_empty) throw new CodedError('BUNDLE_REJECTED', 'empty_without_consent');
  return { sha256: header.body_sha256, policyHash: header.policy_hash, body };
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
  const authority = authoritySchema.safeParse(JSON.parse(reply.authority));
  if (!authority.success) throw new CodedError('BUNDLE_REJECTED', 'authority_shape', { cause: authority.error });
  const accepted = acceptHeader(
    held === undefined ? undefined : { header: held.header, hash: held.headerHash },
    reply.keyId,
    reply.header,
    judge,
  );
  await trust.learnRevocations(authority.data.revoked);
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
  await state.facts.set('provenAt', Math.max(state.facts.get('provenAt') ?? 0, proven));
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

/** Judged by the larger of wall clock and monotonic time since receipt (config.md §13.6). */
export function isStale(held: HeldPolicy, now: number, monotonicAgeMs: number): boolean {
  if (held.header.expires_at === null) return false;
  const life = Date.parse(held.header.expires_at) - Date.parse(held.header.issued_at);
  return now > Date.parse(held.header.expires_at) || monotonicAgeMs > life;
}
