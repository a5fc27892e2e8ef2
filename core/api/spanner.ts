/** Hub and spokes: what there is, how a hostname finds its spoke, and the spokes themselves (server.md §6.5). */
import { z } from 'zod';
import { pageOf, route, smallText, time } from './route.ts';

const spokeId = z.string().regex(/^[a-z0-9-]{1,32}$/);
const pattern = z.string().min(1).max(253);
const address = z
  .string()
  .regex(/^[^\s:]*(:[^\s:]*)*:\d{1,5}$|^\[[0-9a-fA-F:.]+\]:\d{1,5}$/, 'host:port is wanted')
  .max(300);
const labels = z.record(z.string().max(63), smallText);
const weight = z.number().int().min(1).max(1000);
const spokeParams = z.strictObject({ id: spokeId });

const linkSchema = z.object({
  /** own: the hub's own envoys, no link between */
  state: z.enum(['up', 'down', 'never', 'own']),
  since: time,
  reason: z.string(),
  rtt_ms: z.number().nullable(),
  clock_offset_ms: z.number().nullable(),
});

export const spokeSchema = z.object({
  id: z.string(),
  state: z.string(),
  source: z.enum(['settings', 'database', 'own']),
  addr: z.string(),
  api_url: z.string(),
  fallback: z.array(z.string()),
  patterns: z.array(z.string()),
  weight: z.number(),
  labels: z.record(z.string(), z.string()),
  link: linkSchema,
  /** as the spoke said it last; null before it said anything */
  envoys: z.number().nullable(),
  offline: z.number().nullable(),
  converged_pct: z.number().nullable(),
  /** release it serves; 0 without one */
  release: z.number().nullable(),
  version: z.string().nullable(),
  /** age of these figures */
  age_s: z.number().nullable(),
  created_at: time,
  state_since: time,
});
export type SpokeItem = z.output<typeof spokeSchema>;

export const spannerStatus = route({
  name: 'spanner.status',
  summary: 'Role of this server, its links, and how each spoke stands',
  method: 'GET',
  path: '/spanner/status',
  permission: 'fleet.read',
  reply: z.object({
    role: z.enum(['hub', 'spoke']),
    site_id: z.string(),
    /** at a spoke: the hub's address */
    hub: z.string(),
    epoch: z.number(),
    release: z.number(),
    /** at a spoke: its link to the hub */
    link: linkSchema.nullable(),
    spokes: z.array(spokeSchema),
  }),
  codes: ['UNIMPLEMENTED'],
});

export const routeHostname = route({
  name: 'spanner.route',
  summary: 'Which spoke a hostname belongs to, with every pattern tried and why',
  method: 'GET',
  path: '/spanner/route',
  permission: 'fleet.read',
  query: z.strictObject({ hostname: z.string().min(1).max(253) }),
  reply: z.object({
    hostname: z.string(),
    spoke: z.string().nullable(),
    why: z.string(),
    tried: z.array(
      z.object({
        pattern: z.string(),
        spoke: z.string(),
        literals_before: z.number(),
        literals: z.number(),
        matches: z.boolean(),
        chosen: z.boolean(),
        why: z.string(),
      }),
    ),
  }),
  codes: ['ASK_HUB', 'UNIMPLEMENTED'],
});

export const listSpokes = route({
  name: 'spanner.spokes.list',
  summary: 'Lists spokes',
  method: 'GET',
  path: '/spanner/spokes',
  permission: 'fleet.read',
  reply: pageOf(spokeSchema),
  codes: ['ASK_HUB', 'UNIMPLEMENTED'],
});

export const showSpoke = route({
  name: 'spanner.spokes.get',
  summary: 'Shows a spoke',
  method: 'GET',
  path: '/spanner/spokes/{id}',
  permission: 'fleet.read',
  params: spokeParams,
  reply: spokeSchema,
  codes: ['ASK_HUB', 'UNIMPLEMENTED'],
});

export const addSpoke = route({
  name: 'spanner.spokes.add',
  summary: 'Adds a spoke, or makes a new join token for one that has not joined; the token is answered once',
  method: 'POST',
  path: '/spanner/spokes',
  permission: 'spanner.manage',
  body: z.strictObject({
    id: spokeId,
    patterns: z.array(pattern).max(100).optional(),
    addr: address.optional(),
    fallback: z.array(address).max(10).optional(),
    weight: weight.optional(),
    labels: labels.optional(),
    ttl_s: z.number().int().positive().default(86_400),
  }),
  reply: z.object({ id: z.string(), token: z.string(), expires_at: time, server_yaml: z.string() }),
  status: 201,
  needsKey: true,
  codes: ['DUPLICATE_SPOKE', 'ASK_HUB', 'UNIMPLEMENTED'],
});

export const setSpoke = route({
  name: 'spanner.spokes.set',
  summary: 'Changes patterns, weight, labels or address of a spoke',
  method: 'PATCH',
  path: '/spanner/spokes/{id}',
  permission: 'spanner.manage',
  params: spokeParams,
  body: z.strictObject({
    patterns: z.array(pattern).max(100).optional(),
    addr: address.optional(),
    fallback: z.array(address).max(10).optional(),
    weight: weight.optional(),
    labels: labels.optional(),
  }),
  reply: spokeSchema,
  needsMatch: true,
  codes: ['ASK_HUB', 'UNIMPLEMENTED', 'PRECONDITION_FAILED'],
});

export const removeSpoke = route({
  name: 'spanner.spokes.remove',
  summary: 'Removes a drained or evacuated spoke: its delegation is revoked everywhere',
  method: 'DELETE',
  path: '/spanner/spokes/{id}',
  permission: 'spanner.manage',
  params: spokeParams,
  reply: z.object({ id: z.string(), status: z.literal('removed'), revoked_serials: z.array(z.string()) }),
  needsMatch: true,
  codes: ['DRAIN_NOT_EMPTY', 'NOT_READY', 'ASK_HUB', 'UNIMPLEMENTED', 'PRECONDITION_FAILED'],
});
