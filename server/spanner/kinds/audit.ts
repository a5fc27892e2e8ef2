/** Copies of a site's audit log at the hub, and the hub as a witness of it (server.md §12.5). */
import { z } from 'zod';
import { kind } from '../link.ts';

/** Records that one answer carries, unless one checkpoint covers more. */
export const AUDIT_PAGE = 1000;

/** hub → site: records from this size of the tree on, as far as a checkpoint covers them; the answer's data are a JSON list of their texts. */
export const auditPull = kind(
  'audit.pull',
  z.object({ from: z.number().int().nonnegative(), limit: z.number().int().positive().max(AUDIT_PAGE) }),
  z.object({
    /** records there are */
    size: z.number().int().nonnegative(),
    /** of the tree whose last record is the last one of this answer, or the newest when there are none; empty without any */
    checkpoint: z.string().max(4096),
  }),
);

/** site → hub: the newest checkpoint of this site that the hub holds; empty without one. */
export const auditWitness = kind('audit.witness', z.object({}), z.object({ checkpoint: z.string().max(4096) }));
