/** Kinds of messages that keep the hub's roster: state, not events; a site's log is read from a number on. */
import { z } from 'zod';
import { signedGrantSchema } from '../../../core/policy/ownership.ts';
import { identitySchema } from '../identity-record.ts';
import { kind } from '../link.ts';

export const ROSTER_PAGE = 500;

export const rosterEntrySchema = z.object({
  envoy_id: z.uuid(),
  seq: z.number().int().positive(),
  /** `departed`: the grant names who owns it now; `removed`: neither here nor elsewhere, as far as this site knows */
  state: z.enum(['owned', 'departed', 'removed']),
  owner_epoch: z.number().int().nonnegative(),
  /** null while it is where it enrolled */
  grant: signedGrantSchema.nullable(),
  identity: identitySchema.nullable(),
});
export type RosterEntry = z.output<typeof rosterEntrySchema>;

/** hub → site */
export const rosterPull = kind(
  'roster.pull',
  z.object({
    /** of the site, as the hub read it last: another one starts anew */
    epoch: z.number().int().nonnegative(),
    after: z.number().int().nonnegative(),
    limit: z.number().int().positive().max(ROSTER_PAGE),
  }),
  z.object({
    epoch: z.number().int().nonnegative(),
    /** read from the beginning, whatever was asked for */
    anew: z.boolean(),
    entries: z.array(rosterEntrySchema),
    /** the highest number these reach; the hub goes on behind it */
    through: z.number().int().nonnegative(),
    complete: z.boolean(),
  }),
);

/** site → hub: there is something to be read */
export const rosterChanged = kind('roster.changed', z.object({ seq: z.number().int().nonnegative() }), z.object({}));
