/** Enrolment between hub and sites (server.md §6.6): the hub orders envoys, sites ask it for its tokens and for permits to make their own. */
import { z } from 'zod';
import { enrollReplySchema, enrollRequestSchema } from '../../../core/api/enroll.ts';
import { isErrorCode } from '../../../core/base/errors.ts';
import { signedPermitSchema } from '../../../core/policy/permit.ts';
import { kind } from '../link.ts';

const tokenFacts = z.object({ id: z.string().max(64), pattern: z.string().max(253), labels: z.record(z.string(), z.string()) });
const addresses = z.array(z.string().max(300)).max(20);
const fingerprint = z.string().regex(/^[0-9a-f]{64}$/);
const permitId = z.string().regex(/^[0-9a-f]{32}$/);
const request = { request: enrollRequestSchema, address: z.string().max(200) };

/** Nothing was made, and nothing will be: the hub may give the token back. */
const refused = z.object({
  status: z.literal('refused'),
  code: z.string().refine(isErrorCode),
  message: z.string().max(2000),
  hint: z.string().max(2000).nullable(),
});

/** hub → site: the token is spent for these keys. The same keys and hostname get the same envoy, however often they are ordered. */
export const enrollCreate = kind(
  'enroll.create',
  z.object({
    ...request,
    /** null: the request showed none, the site decides whether it may wait for an admin */
    token: tokenFacts.nullable(),
    /** ordered before, and what came of it is not known */
    again: z.boolean(),
    fallback: addresses,
  }),
  z.discriminatedUnion('status', [
    z.object({ status: z.literal('enrolled'), reply: enrollReplySchema }),
    z.object({ status: z.literal('pending'), enrollment_id: z.uuid() }),
    refused,
  ]),
);

/** site → hub: somebody shows a token here that this site does not know. The hub checks it and spends it for these keys. */
export const tokenSpend = kind('token.spend', z.object(request), z.object({ token: tokenFacts, again: z.boolean(), fallback: addresses }));

/** site → hub: nothing came of it. */
export const tokenUnspend = kind(
  'token.unspend',
  z.object({ token_id: z.string().max(64), key_fingerprint: fingerprint }),
  z.object({ unspent: z.boolean() }),
);

/** hub → site: permits to keep, and those that count as used. Answers what it holds and how many it wants to hold. */
export const permitBatch = kind(
  'permit.batch',
  z.object({ permits: z.array(signedPermitSchema).max(1000), used: z.array(permitId).max(1000) }),
  z.object({ held: z.array(permitId).max(2000), wanted: z.number().int().min(0).max(1000) }),
);

/** site → hub: which permits were used, for which tokens. */
export const permitSpent = kind(
  'permit.spent',
  z.object({
    spent: z.array(z.object({ id: permitId, token_id: z.string().max(64), pattern: z.string().max(253), at: z.number() })).max(200),
  }),
  z.object({}),
);
