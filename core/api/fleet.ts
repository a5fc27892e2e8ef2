/** The fleet as a whole. */
import { z } from 'zod';
import { fleetQuery, route, spokeStatusSchema } from './route.ts';

export const fleetSummary = route({
  name: 'fleet.summary',
  summary: 'Counts by state, share of converged envoys, releases in use',
  method: 'GET',
  path: '/fleet/summary',
  permission: 'fleet.read',
  query: z.strictObject(fleetQuery),
  reply: z.object({
    envoys: z.number(),
    states: z.record(z.string(), z.number()),
    converged_pct: z.number().nullable(),
    releases: z.record(z.string(), z.number()),
    pending: z.number(),
    revoked: z.number(),
    unmatched: z.number(),
    live_release: z.number(),
    complete: z.boolean(),
    spokes: z.array(
      spokeStatusSchema.extend({
        envoys: z.number().optional(),
        states: z.record(z.string(), z.number()).optional(),
        converged_pct: z.number().nullable().optional(),
        live_release: z.number().optional(),
      }),
    ),
  }),
});
