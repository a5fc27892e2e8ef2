/** A question of the hub to a site: one of its own REST routes, by name, in the name of whoever asked the hub. */
import { z } from 'zod';
import { PERMISSIONS } from '../../../core/api/permissions.ts';
import { kind } from '../link.ts';

export const askerSchema = z.object({
  kind: z.enum(['token', 'local', 'user']),
  id: z.string().max(300),
  name: z.string().max(300),
  role: z.string().max(64),
  /** what the hub found; the site takes no more than the role has */
  permissions: z.array(z.enum(PERMISSIONS)),
  address: z.string().max(100),
  claimedBy: z.string().max(300).optional(),
});

const texts = z.record(z.string().max(64), z.string().max(2000));

/** hub → site; the answer's data are the JSON of the reply. */
export const query = kind(
  'query',
  z.object({
    route: z.string().max(64),
    params: texts,
    query: texts,
    body: z.json(),
    /** `current`: the thing that If-Match is compared with */
    part: z.enum(['answer', 'current']),
    principal: askerSchema,
    request_id: z.string().max(64),
    /** longer replies are refused by the site */
    max_bytes: z.number().int().positive(),
  }),
  z.object({ status: z.number().int(), headers: texts }),
);

/** hub → site: runs that finished after the cursor, as soon as there is one. */
export const runsTail = kind(
  'runs.tail',
  z.object({
    /** undefined: from now on */
    cursor: z.string().max(64).optional(),
    target: z.string().max(1000).optional(),
    wait_ms: z.number().int().nonnegative().max(30_000),
    principal: askerSchema,
  }),
  z.object({ cursor: z.string(), items: z.array(z.json()).max(1000) }),
);
