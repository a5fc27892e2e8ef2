/** Moving envoys between spokes: one, many, all of a spoke, all of a dead one (server.md §5.9, §6.5). */
import { z } from 'zod';
import { pageOf, pageQuery, queryFlag, route, smallText, time } from './route.ts';

const spokeId = z.string().regex(/^[a-z0-9-]{1,32}$/);
const spokeParams = z.strictObject({ id: spokeId });
const rate = z.string().max(40);
const targets = z.array(spokeId).max(100).default([]);

export const moveSchema = z.object({
  id: z.string(),
  envoy_id: z.string(),
  hostname: z.string(),
  from: z.string(),
  to: z.string(),
  owner_epoch: z.number(),
  phase: z.enum(['INTENT', 'READY', 'COMMITTED', 'CONFIRMED', 'UNDONE']),
  /** the drain, evacuation or reassignment it belongs to */
  batch: z.string().nullable(),
  /** false while a site has to be told something, or the envoy was not seen at its new site */
  finished: z.boolean(),
  error: z.string().nullable(),
  message: z.string().nullable(),
  started_at: time,
  committed_at: time,
  ended_at: time,
});
export type MoveItem = z.output<typeof moveSchema>;

export const batchSchema = z.object({
  id: z.string(),
  kind: z.enum(['drain', 'evacuate', 'reassign', 'take_back']),
  spoke: z.string().nullable(),
  state: z.enum(['running', 'done', 'cancelled', 'failed']),
  total: z.number(),
  moved: z.number(),
  /** seen at their new site */
  confirmed: z.number(),
  remaining: z.number(),
  failed: z.number(),
  /** envoys a second */
  rate: z.number(),
  eta_s: z.number().nullable(),
  error: z.string().nullable(),
});
export type BatchItem = z.output<typeof batchSchema>;

const plannedSchema = z.object({ id: z.string(), hostname: z.string(), from: z.string(), to: z.string().nullable() });

/** What a change of a spoke, or a reassignment, answers. */
export const movingReply = z.object({
  id: z.string().nullable(),
  /** of the spoke; `planned` when nothing was changed */
  status: z.string(),
  batch: batchSchema.nullable(),
  /** where its progress is told, and its moves listed */
  events: z.string().nullable(),
  moves: z.string().nullable(),
  /** with `dry_run` */
  plan: z.array(plannedSchema).nullable(),
  note: z.string().nullable(),
});
export type MovingReply = z.output<typeof movingReply>;

const hubOnly = ['ASK_HUB', 'UNIMPLEMENTED'] as const;
const moving = ['HUB_BEHIND', 'PRECONDITION_FAILED', 'SPOKE_DRAINING', ...hubOnly] as const;

export const reassign = route({
  name: 'spanner.reassign',
  summary: 'Moves envoys to another spoke',
  method: 'POST',
  path: '/spanner/reassign',
  permission: 'spanner.manage',
  body: z.strictObject({
    target: z.string().min(1).max(1000),
    /** without it: where their patterns belong */
    to: spokeId.optional(),
    max_rate: rate.optional(),
    dry_run: z.boolean().default(false),
  }),
  reply: movingReply,
  status: 202,
  needsKey: true,
  codes: ['NO_TARGETS', 'TARGET_SYNTAX', ...moving],
});

export const listMoves = route({
  name: 'spanner.moves',
  summary: 'Journal of moves, newest first',
  method: 'GET',
  path: '/spanner/moves',
  permission: 'fleet.read',
  query: z.strictObject({ ...pageQuery, open: queryFlag, batch: z.string().max(40).optional(), envoy: z.string().max(40).optional() }),
  reply: pageOf(moveSchema),
  codes: hubOnly,
});

export const getBatch = route({
  name: 'spanner.batches.get',
  summary: 'How far a drain, an evacuation or a reassignment is',
  method: 'GET',
  path: '/spanner/batches/{id}',
  permission: 'fleet.read',
  params: z.strictObject({ id: z.string().max(40) }),
  reply: batchSchema,
  codes: hubOnly,
});

export const batchEvents = route({
  name: 'spanner.batches.events',
  summary: 'Progress of a drain, an evacuation or a reassignment, until it ends',
  method: 'GET',
  path: '/spanner/batches/{id}/events',
  permission: 'fleet.read',
  params: z.strictObject({ id: z.string().max(40) }),
  reply: batchSchema,
  form: 'events',
  codes: ['OVERLOADED', ...hubOnly],
});

export const drainSpoke = route({
  name: 'spanner.spokes.drain',
  summary: 'Empties a spoke: its envoys move to others, it takes no more',
  method: 'POST',
  path: '/spanner/spokes/{id}/drain',
  permission: 'spanner.manage',
  params: spokeParams,
  body: z.strictObject({
    to: targets,
    max_rate: rate.optional(),
    /** for running tasks */
    deadline_s: z.number().int().positive().max(604_800).optional(),
    dry_run: z.boolean().default(false),
  }),
  reply: movingReply,
  status: 202,
  needsKey: true,
  codes: moving,
});

export const undrainSpoke = route({
  name: 'spanner.spokes.undrain',
  summary: 'Takes a drained or draining spoke into service again',
  method: 'POST',
  path: '/spanner/spokes/{id}/undrain',
  permission: 'spanner.manage',
  params: spokeParams,
  body: z.strictObject({ take_back: z.boolean().default(false), max_rate: rate.optional() }),
  reply: movingReply,
  status: 202,
  needsKey: true,
  codes: moving,
});

export const evacuateSpoke = route({
  name: 'spanner.spokes.evacuate',
  summary: 'Gives the envoys of a dead spoke to others, from the copy of the hub; the spoke is fenced',
  method: 'POST',
  path: '/spanner/spokes/{id}/evacuate',
  permission: 'spanner.manage',
  params: spokeParams,
  body: z.strictObject({ to: targets, max_rate: rate.optional(), confirm: smallText.optional(), dry_run: z.boolean().default(false) }),
  reply: movingReply,
  status: 202,
  needsKey: true,
  codes: moving,
});

export const cancelSpoke = route({
  name: 'spanner.spokes.cancel',
  summary: 'Ends a drain or an evacuation where it is; what is committed is carried through',
  method: 'POST',
  path: '/spanner/spokes/{id}/cancel',
  permission: 'spanner.manage',
  params: spokeParams,
  reply: movingReply,
  status: 202,
  needsKey: true,
  codes: hubOnly,
});

export const pushSpoke = route({
  name: 'spanner.spokes.push',
  summary: 'Asks all envoys of a spoke for an early check-in, spread over a minute',
  method: 'POST',
  path: '/spanner/spokes/{id}/push',
  permission: 'spanner.manage',
  params: spokeParams,
  body: z.strictObject({ spread_s: z.number().int().min(0).max(3600).default(60) }),
  reply: z.object({ id: z.string(), status: z.literal('asked'), envoys: z.number() }),
  status: 202,
  needsKey: true,
  codes: ['SPOKE_UNAVAILABLE', ...hubOnly],
});
