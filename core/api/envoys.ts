/** Envoys: the fleet's members. */
import { z } from 'zod';
import { fleetQuery, idParams, maybeCompleteness, pageOf, pageQuery, queryFlag, reasonText, route, smallText, time } from './route.ts';
import { runSummarySchema } from './runs.ts';

export const envoyRowSchema = z.object({
  id: z.string(),
  hostname: z.string(),
  /** the site that owns it */
  spoke: z.string(),
  status: z.enum(['active', 'pending', 'revoked']),
  state: z.string(),
  drift: z.string(),
  last_seen: time,
  release: z.number(),
  environment: z.string().nullable(),
  roles: z.array(z.string()),
  entry: z.string().nullable(),
  os: z.string(),
  agent_version: z.string(),
  address: z.string(),
  flags: z.array(z.string()),
  labels: z.record(z.string(), z.string()),
});
export type EnvoyItem = z.output<typeof envoyRowSchema>;

export const envoyRecordSchema = envoyRowSchema.extend({
  identity_key_fingerprint: z.string(),
  sealing_key_fingerprint: z.string(),
  owner_epoch: z.number(),
  enrolled_at: time,
  certificate_expires_at: time,
  platform: z.string(),
  reason: z.string(),
  streak: z.number(),
  detail: z.string(),
  clean: z.boolean(),
  policy_hash: z.string(),
  secrets_epoch: z.number(),
  held_seq: z.number(),
  runs: z.array(runSummarySchema),
});

export const listEnvoys = route({
  name: 'envoys.list',
  summary: 'Lists envoys',
  method: 'GET',
  path: '/envoys',
  permission: 'fleet.read',
  query: z.strictObject({
    ...pageQuery,
    ...fleetQuery,
    /** the hub's order; else the order of enrolment */
    sort: z.enum(['hostname']).optional(),
    target: z.string().max(1000).optional(),
    state: smallText.optional(),
    env: smallText.optional(),
    role: smallText.optional(),
    release: z.coerce.number().int().optional(),
    label: smallText.optional(),
    stale: queryFlag,
  }),
  reply: pageOf(envoyRowSchema),
  codes: ['TARGET_SYNTAX', 'CURSOR_EXPIRED'],
});

export const getEnvoy = route({
  name: 'envoys.get',
  summary: 'Shows one envoy; the id may be a UUID, a hostname or a unique prefix of either',
  method: 'GET',
  path: '/envoys/{id}',
  permission: 'fleet.read',
  params: idParams,
  reply: envoyRecordSchema,
  codes: ['AMBIGUOUS_NAME'],
});

export const revokeEnvoy = route({
  name: 'envoys.revoke',
  summary: 'Revokes an envoy: its certificate and its requests are refused from now on',
  method: 'POST',
  path: '/envoys/{id}/revoke',
  permission: 'envoy.revoke',
  params: idParams,
  body: z.strictObject({ reason: reasonText }),
  reply: z.object({ id: z.string(), status: z.literal('revoked') }),
  codes: ['AMBIGUOUS_NAME'],
});

export const deleteEnvoy = route({
  name: 'envoys.delete',
  summary: 'Forgets a revoked envoy; its runs and the audit log stay',
  method: 'DELETE',
  path: '/envoys/{id}',
  permission: 'envoy.revoke',
  params: idParams,
  reply: z.object({ id: z.string(), status: z.literal('deleted') }),
  codes: ['STILL_ACTIVE', 'AMBIGUOUS_NAME'],
  needsMatch: true,
});

export const pushEnvoys = route({
  name: 'envoys.push',
  summary: 'Asks envoys for an early check-in',
  method: 'POST',
  path: '/envoys/push',
  permission: 'fleet.write',
  body: z.strictObject({ target: z.string().min(1).max(1000).optional(), all: z.boolean().optional(), spoke: fleetQuery.spoke }),
  reply: z.object({
    pushed: z.number(),
    queued: z.number(),
    envoys: z.array(z.object({ id: z.string(), hostname: z.string(), status: z.enum(['pushed', 'queued']) })),
    ...maybeCompleteness,
  }),
  codes: ['TARGET_SYNTAX', 'NO_TARGETS'],
});

export const envoyTraits = route({
  name: 'envoys.traits',
  summary: 'The traits an envoy last reported',
  method: 'GET',
  path: '/envoys/{id}/traits',
  permission: 'fleet.read',
  params: idParams,
  query: z.strictObject({ path: z.string().max(500).optional() }),
  reply: z.object({ id: z.string(), hostname: z.string(), hash: z.string(), age_s: z.number().nullable(), traits: z.json() }),
  codes: ['AMBIGUOUS_NAME'],
});

export const envoyRuns = route({
  name: 'envoys.runs',
  summary: 'The runs of one envoy, newest first',
  method: 'GET',
  path: '/envoys/{id}/runs',
  permission: 'fleet.read',
  params: idParams,
  query: z.strictObject(pageQuery),
  reply: pageOf(runSummarySchema),
  codes: ['AMBIGUOUS_NAME', 'CURSOR_EXPIRED'],
});

export const envoyPolicy = route({
  name: 'envoys.policy',
  summary: 'The compiled policy of an envoy; secrets are markers only',
  method: 'GET',
  path: '/envoys/{id}/policy',
  permission: 'config.read',
  params: idParams,
  reply: z.object({ id: z.string(), hostname: z.string(), release: z.number(), body: z.json() }),
  codes: ['AMBIGUOUS_NAME', 'NOT_READY'],
});
