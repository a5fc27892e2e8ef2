/** An envoy as it travels from site to site: who it is, how it did, what it last said. JSON, bytes as base64 or hex as the store has them. */
import { z } from 'zod';
import type { EnvoyId } from '../../core/base/ids.ts';
import { runReportSchema } from '../../core/policy/outcome.ts';
import { signedGrantSchema } from '../../core/policy/ownership.ts';
import { DRIFTS, RUN_STATES } from '../fleet/convergence.ts';
import { ENVOY_STATUSES, type EnvoyIdentity, type EnvoyVolatile, type StoredRun } from '../store/store.ts';

const base64 = z.string().max(100);
const counter = z.number().int().nonnegative();

/** What enrolment decided; rows of rosters are the same. */
export const identitySchema = z.object({
  envoy_id: z.uuid(),
  hostname: z.string().min(1).max(253),
  identity_key: base64,
  sealing_key: base64,
  status: z.enum(ENVOY_STATUSES),
  labels: z.record(z.string(), z.string()),
  enrolled_at: counter,
  certificate_expires_at: counter,
  platform: z.string().max(200),
  agent_version: z.string().max(200),
  address: z.string().max(200),
  reason: z.string().max(1000),
});
export type TravellingIdentity = z.output<typeof identitySchema>;

const volatileSchema = z.object({
  // agents count on from the time in milliseconds: nobody may burn the numbers up to the last one for them
  sequence: counter.max(2 ** 48),
  last_seen: counter,
  release: counter,
  policy_hash: z.string().max(64),
  secrets_epoch: counter,
  held_seq: counter,
  held_header_hash: z.string().max(64),
  run_state: z.enum(RUN_STATES),
  detail: z.enum(['', 'blocked', 'repeated']),
  streak: counter,
  drift: z.enum(DRIFTS),
  clean: z.boolean(),
  reset_pending: z.boolean(),
  counted_policy: z.string().max(64),
  counted_epoch: counter,
  counted_at: counter,
});

const runSchema = z.object({ received_at: counter, report: runReportSchema });

/** What came after the copy: the target takes what it does not have. */
export const lateSchema = z.object({
  /** as it stood when it left: a revocation or a label that came after the copy */
  identity: identitySchema.nullable(),
  volatile: volatileSchema.nullable(),
  runs: z.array(runSchema).max(200),
});
export type Late = z.output<typeof lateSchema>;

export const identityRecordSchema = z.object({
  identity: identitySchema,
  owner_epoch: counter,
  grant: signedGrantSchema.nullable(),
  volatile: volatileSchema,
  traits: z.object({ hash: z.string().max(64), traits: z.record(z.string(), z.json()) }).nullable(),
  /** newest first: what the agent may send again because it never heard that it was taken */
  runs: z.array(runSchema).max(200),
});
export type IdentityRecord = z.output<typeof identityRecordSchema>;

export function toTravelling(envoy: EnvoyIdentity): TravellingIdentity {
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  return {
    envoy_id: envoy.id,
    hostname: envoy.hostname,
    identity_key: text(envoy.identityKey),
    sealing_key: text(envoy.sealingKey),
    status: envoy.status,
    labels: { ...envoy.labels },
    enrolled_at: envoy.enrolledAt,
    certificate_expires_at: envoy.certificateExpiresAt,
    platform: envoy.platform,
    agent_version: envoy.agentVersion,
    address: envoy.address,
    reason: envoy.reason,
  };
}

export function fromTravelling(identity: TravellingIdentity, ownerEpoch: number): EnvoyIdentity {
  return {
    id: identity.envoy_id as EnvoyId,
    hostname: identity.hostname,
    identityKey: Buffer.from(identity.identity_key, 'base64'),
    sealingKey: Buffer.from(identity.sealing_key, 'base64'),
    status: identity.status,
    ownerEpoch,
    enrolledAt: identity.enrolled_at,
    certificateExpiresAt: identity.certificate_expires_at,
    platform: identity.platform,
    agentVersion: identity.agent_version,
    address: identity.address,
    labels: identity.labels,
    reason: identity.reason,
  };
}

export function toVolatile(envoy: EnvoyVolatile): IdentityRecord['volatile'] {
  return {
    sequence: envoy.sequence,
    last_seen: Math.trunc(envoy.lastSeen),
    release: envoy.release,
    policy_hash: envoy.policyHash,
    secrets_epoch: envoy.secretsEpoch,
    held_seq: envoy.heldSeq,
    held_header_hash: envoy.heldHeaderHash,
    run_state: envoy.runState,
    detail: envoy.detail,
    streak: envoy.streak,
    drift: envoy.drift,
    clean: envoy.clean,
    reset_pending: envoy.resetPending,
    counted_policy: envoy.countedPolicy,
    counted_epoch: envoy.countedEpoch,
    counted_at: Math.trunc(envoy.countedAt),
  };
}

/** Traits are asked for anew at the first check-in: only their copy travels, not the claim to know the newest. */
export function fromVolatile(id: EnvoyId, volatile: IdentityRecord['volatile'], traitsHash: string): EnvoyVolatile {
  return {
    id,
    sequence: volatile.sequence,
    lastSeen: volatile.last_seen,
    release: volatile.release,
    policyHash: volatile.policy_hash,
    secretsEpoch: volatile.secrets_epoch,
    heldSeq: volatile.held_seq,
    heldHeaderHash: volatile.held_header_hash,
    traitsHash,
    flags: 0,
    runState: volatile.run_state,
    detail: volatile.detail,
    streak: volatile.streak,
    drift: volatile.drift,
    clean: volatile.clean,
    resetPending: volatile.reset_pending,
    countedPolicy: volatile.counted_policy,
    countedEpoch: volatile.counted_epoch,
    countedAt: volatile.counted_at,
  };
}

export function toStoredRun(id: EnvoyId, hostname: string, run: Late['runs'][number]): StoredRun {
  return { subject: id, hostname, receivedAt: run.received_at, report: run.report };
}
