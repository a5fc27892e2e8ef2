/** The audit log and its proofs. */
import { z } from 'zod';
import { fleetQuery, pageOf, pageQuery, route, smallText, time } from './route.ts';

export const auditRowSchema = z.object({
  /** the site whose log it is of */
  spoke: z.string(),
  seq: z.number(),
  time,
  actor: z.string(),
  event: z.string(),
  target: z.string(),
  record: z.json(),
});

export const listAudit = route({
  name: 'audit.list',
  summary: 'The audit log, newest first',
  method: 'GET',
  path: '/audit',
  permission: 'audit.read',
  query: z.strictObject({
    ...pageQuery,
    ...fleetQuery,
    since: z.iso.datetime({ offset: true }).optional(),
    until: z.iso.datetime({ offset: true }).optional(),
    actor: smallText.optional(),
    event: smallText.optional(),
    target: z.string().max(300).optional(),
  }),
  reply: pageOf(auditRowSchema),
  codes: ['CURSOR_EXPIRED'],
});

export const verifyAuditLog = route({
  name: 'audit.verify',
  summary: 'Verifies every record, checkpoint and signature',
  method: 'POST',
  path: '/audit/verify',
  permission: 'audit.read',
  body: z.strictObject({
    checkpoints: z.array(z.string().max(4096)).max(100).default([]),
    /** role admin: changes are accepted again although the log does not verify; itself recorded */
    acknowledge: z.boolean().optional(),
  }),
  reply: z.object({
    records: z.number(),
    ok: z.boolean(),
    findings: z.array(z.object({ kind: z.string(), seq: z.number(), message: z.string() })),
  }),
});

export const listCheckpoints = route({
  name: 'audit.checkpoints',
  summary: 'Signed checkpoints; the newest comes first with `newest=true`',
  method: 'GET',
  path: '/audit/checkpoints',
  permission: 'audit.read',
  query: z.strictObject({
    from: z.coerce.number().int().nonnegative().default(0),
    limit: z.coerce.number().int().min(1).max(1000).default(100),
    newest: z.enum(['true', 'false']).default('false'),
  }),
  reply: z.object({ items: z.array(z.object({ size: z.number(), time, note: z.string() })) }),
});

export const auditProof = route({
  name: 'audit.proof',
  summary: 'Proves that a record is in the tree of the newest checkpoint',
  method: 'GET',
  path: '/audit/proof/{seq}',
  permission: 'audit.read',
  params: z.strictObject({ seq: z.coerce.number().int().nonnegative() }),
  reply: z.object({
    seq: z.number(),
    size: z.number(),
    record: z.string(),
    leaf: z.string(),
    path: z.array(z.string()),
    checkpoint: z.string(),
  }),
  codes: ['NOT_READY'],
});
