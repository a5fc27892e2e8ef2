/** All that one site tells another about an envoy that moves. */
import { z } from 'zod';
import { signedGrantSchema } from '../../core/policy/ownership.ts';

export const identitySchema = z.object({
  envoy_id: z.uuid(),
  hostname: z.string().min(1).max(253),
  /** raw 32 bytes, base64 */
  identity_key: z.base64(),
  sealing_key: z.base64(),
  status: z.enum(['active', 'pending', 'revoked']),
  labels: z.record(z.string(), z.string()),
  enrolled_at: z.number(),
  certificate_expires_at: z.number(),
  platform: z.string(),
  agent_version: z.string(),
  address: z.string(),
  reason: z.string(),
});
export type Identity = z.output<typeof identitySchema>;

export const identityRecordSchema = z.object({
  identity: identitySchema,
  owner_epoch: z.number().int().positive(),
  grant: signedGrantSchema.nullable(),
  volatile: z.record(z.string(), z.unknown()).nullable(),
  traits: z.object({ hash: z.string(), traits: z.record(z.string(), z.unknown()) }).nullable(),
  runs: z.array(z.unknown()).max(1000),
});
export type IdentityRecord = z.output<typeof identityRecordSchema>;

/** What came to the old owner after the copy was taken. */
export const lateSchema = z.object({
  volatile: z.record(z.string(), z.unknown()).nullable(),
  traits: z.object({ hash: z.string(), traits: z.record(z.string(), z.unknown()) }).nullable(),
  runs: z.array(z.unknown()),
});
export type Late = z.output<typeof lateSchema>;
