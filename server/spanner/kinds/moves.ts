/** Kinds of messages of a move. All are idempotent by (envoy, owner epoch): whoever comes back repeats them. */
import { z } from 'zod';
import { signedGrantSchema } from '../../../core/policy/ownership.ts';
import { identityRecordSchema, lateSchema } from '../identity-record.ts';
import { kind } from '../link.ts';

const done = z.object({});
/** The highest commit of the hub that the asked one shall remember: a hub below it was restored from an old copy. */
const hubSeq = z.number().int().nonnegative();
const which = { envoy_id: z.uuid(), owner_epoch: z.number().int().positive() };

/** hub → source, which stays the owner */
export const moveExport = kind('move.export', z.object({ envoy_id: z.uuid() }), z.object({ record: identityRecordSchema }));
/** hub → target, which keeps it as arriving */
export const movePrepare = kind(
  'move.prepare',
  z.object({ record: identityRecordSchema, owner_epoch: which.owner_epoch, hub_seq: hubSeq }),
  done,
);
/** hub → target, which owns the envoy from here on */
export const moveCommit = kind('move.commit', z.object({ envoy_id: z.uuid(), grant: signedGrantSchema, hub_seq: hubSeq }), done);
/** hub → source, which redirects the envoy from here on; repeated, it answers the same again */
export const moveDepart = kind(
  'move.depart',
  z.object({ envoy_id: z.uuid(), grant: signedGrantSchema, hub_seq: hubSeq }),
  z.object({ late: lateSchema.nullable() }),
);
/** hub → owner */
export const moveLate = kind('move.late', z.object({ ...which, late: lateSchema }), done);
/** hub → target, which forgets what was arriving, never what it owns */
export const moveUndo = kind('move.undo', z.object(which), done);
/** hub → source, which keeps the grant alone */
export const moveForget = kind('move.forget', z.object(which), done);
/** site → hub: the envoy checked in here under this epoch */
export const moveConfirm = kind('move.confirm', z.object(which), done);

/** hub → site: what a drain waits for, and which commit of the hub the site has seen */
export const siteStateKind = kind(
  'site.state',
  z.object({
    hub_seq: hubSeq,
    /** how the site stands at the hub: one that is being emptied enrols nobody */
    state: z.string().max(32).optional(),
  }),
  z.object({
    hub_seq: hubSeq,
    /** envoys that the site answers policy to */
    owned: z.number().int().nonnegative(),
    /** results that were received and are not stored yet */
    pending: z.number().int().nonnegative(),
  }),
);
/** hub → site: asks all its envoys for an early check-in, spread over the time */
export const sitePush = kind('site.push', z.object({ spread_ms: z.number().int().nonnegative() }), z.object({ asked: z.number().int() }));
