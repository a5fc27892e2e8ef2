/** Enrolment and renewal (server.md §6.6): called by agents, with proofs of their own. */
import { z } from 'zod';
import { route } from './route.ts';

const key32 = z.string().regex(/^[A-Za-z0-9+/]{43}=$/);

export const enrollRequestSchema = z.strictObject({
  token: z.string().max(256).optional(),
  hostname: z.string().max(512),
  csr: z.string().max(8192),
  identity_key: key32,
  sealing_key: key32,
  platform: z.string().max(64),
  agent_version: z.string().max(64),
  timestamp_ms: z.number().int(),
  proof: z.string().max(128),
  old_key_proof: z.string().max(128).optional(),
  force: z.boolean().optional(),
});
export type EnrollRequest = z.output<typeof enrollRequestSchema>;

export const enrollReplySchema = z.object({
  envoy_id: z.string(),
  fleet_id: z.string(),
  site_id: z.string(),
  owner_epoch: z.number(),
  server: z.string(),
  fallback_servers: z.array(z.string()),
  /** https address of the REST port of the site, when it is another than was asked */
  api_url: z.string().optional(),
  certificate: z.string(),
  ca_bundle: z.string(),
  root_public_key: z.string(),
  delegation: z.object({ record: z.string(), signature: z.string() }),
  signature: z.string(),
});
export type EnrollReply = z.output<typeof enrollReplySchema>;

export const enroll = route({
  name: 'enroll',
  summary: 'Enrols an envoy by token, or queues it for approval',
  method: 'POST',
  path: '/enroll',
  permission: 'public',
  body: enrollRequestSchema,
  reply: z.union([enrollReplySchema, z.object({ enrollment_id: z.string(), poll_after_s: z.number() })]),
  status: 201,
  codes: [
    'TOKEN_UNKNOWN',
    'TOKEN_EXPIRED',
    'TOKEN_REVOKED',
    'TOKEN_ALREADY_SPENT',
    'TOKEN_HOSTNAME_MISMATCH',
    'HOSTNAME_INVALID',
    'HOSTNAME_TAKEN',
    'KEY_ALREADY_ENROLLED',
    'WEAK_KEY',
    'BAD_PROOF',
    'BAD_CSR',
    'CLOCK_SKEW',
    'NO_ROUTE',
    'SPOKE_DRAINING',
    'SPOKE_UNAVAILABLE',
    'HUB_BEHIND',
  ],
});

export const renewRequestSchema = z.strictObject({
  csr: z.string().max(8192),
  sealing_key: key32,
  signed: z.strictObject({ payload: z.base64().max(4096), signature: z.base64().max(256) }),
});
export type RenewRequest = z.output<typeof renewRequestSchema>;

export const renewReplySchema = z.object({
  certificate: z.string(),
  ca_bundle: z.string(),
  delegation: z.object({ record: z.string(), signature: z.string() }),
});
export type RenewReply = z.output<typeof renewReplySchema>;

export const renew = route({
  name: 'renew',
  summary: 'Renews an envoy certificate by its key',
  method: 'POST',
  path: '/renew',
  permission: 'public',
  body: renewRequestSchema,
  reply: renewReplySchema,
  codes: ['BAD_SIGNATURE', 'BAD_PROOF', 'BAD_CSR', 'REVOKED', 'NOT_ENROLLED', 'CLOCK_SKEW', 'REPLAYED'],
});
