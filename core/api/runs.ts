/** Finished runs and what they did. */
import { z } from 'zod';
import { outcomeSchema, RUN_MODES } from '../policy/outcome.ts';
import { fleetQuery, idParams, pageOf, pageQuery, queryFlag, route, time } from './route.ts';

export const runSummarySchema = z.object({
  id: z.string(),
  envoy_id: z.string(),
  hostname: z.string(),
  started_at: time,
  received_at: time,
  duration_ms: z.number(),
  mode: z.string(),
  partial: z.string(),
  flags: z.array(z.string()),
  release: z.number(),
  ok: z.number(),
  changed: z.number(),
  failed: z.number(),
  blocked: z.number(),
  skipped: z.number(),
});
export type RunItem = z.output<typeof runSummarySchema>;

export const runSchema = runSummarySchema.extend({
  /** false: retention has removed the details */
  detailed: z.boolean(),
  bundle_rejected: z.string().nullable(),
  outcomes: z.array(outcomeSchema),
});

export const listRuns = route({
  name: 'runs.list',
  summary: 'Lists runs, newest first',
  method: 'GET',
  path: '/runs',
  permission: 'fleet.read',
  query: z.strictObject({
    ...pageQuery,
    ...fleetQuery,
    envoy: z.string().max(300).optional(),
    mode: z.enum(RUN_MODES).optional(),
    since: z.iso.datetime({ offset: true }).optional(),
    changed: queryFlag,
    failed: queryFlag,
  }),
  reply: pageOf(runSummarySchema),
  codes: ['AMBIGUOUS_NAME', 'CURSOR_EXPIRED'],
});

export const getRun = route({
  name: 'runs.get',
  summary: 'Shows a run with every resource',
  method: 'GET',
  path: '/runs/{id}',
  permission: 'fleet.read',
  params: idParams,
  query: z.strictObject({ envoy: z.string().max(300).optional(), spoke: fleetQuery.spoke }),
  reply: runSchema,
  codes: ['AMBIGUOUS_NAME'],
});

export const streamRuns = route({
  name: 'runs.stream',
  summary: 'Finished runs as they come',
  method: 'GET',
  path: '/runs/stream',
  permission: 'fleet.read',
  query: z.strictObject({ target: z.string().max(1000).optional(), spoke: fleetQuery.spoke }),
  reply: runSummarySchema.extend({ state: z.string() }),
  codes: ['TARGET_SYNTAX', 'OVERLOADED'],
  form: 'events',
});
