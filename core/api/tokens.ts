/** Enrolment tokens. */
import { z } from 'zod';
import { fleetQuery, idParams, pageOf, pageQuery, route, smallText, time } from './route.ts';

export const TOKEN_STATES = ['active', 'spent', 'expired', 'revoked'] as const;

export const tokenSchema = z.object({
  id: z.string(),
  pattern: z.string(),
  state: z.enum(TOKEN_STATES),
  environment: z.string(),
  labels: z.record(z.string(), z.string()),
  note: z.string(),
  /** of a hub: where its hostname must be enrolled, or was; empty: anywhere */
  spoke: z.string(),
  created_at: time,
  created_by: z.string(),
  expires_at: time,
  spent_by: z.string().nullable(),
});
export type TokenItem = z.output<typeof tokenSchema>;

export const createTokens = route({
  name: 'tokens.create',
  summary: 'Makes enrolment tokens; their text is answered once',
  method: 'POST',
  path: '/tokens',
  permission: 'token.manage',
  body: z.strictObject({
    pattern: z.string().min(1).max(253),
    ttl_s: z.number().int().positive().optional(),
    count: z.number().int().min(1).max(1000).default(1),
    environment: smallText.optional(),
    labels: z.record(z.string().max(63), smallText).optional(),
    note: smallText.optional(),
    /** at a hub: only for hostnames that are enrolled at that spoke */
    spoke: z.string().max(32).optional(),
  }),
  reply: z.object({
    items: z.array(z.object({ id: z.string(), pattern: z.string(), expires_at: time, token: z.string() })),
    bootstrap: z.string(),
    /** at a spoke: how many tokens it may still make before its hub gives it more */
    permits_left: z.number().optional(),
  }),
  status: 201,
  needsKey: true,
});

export const listTokens = route({
  name: 'tokens.list',
  summary: 'Lists enrolment tokens',
  method: 'GET',
  path: '/tokens',
  permission: 'token.manage',
  query: z.strictObject({ ...pageQuery, ...fleetQuery, state: z.enum(TOKEN_STATES).optional() }),
  reply: pageOf(tokenSchema),
  codes: ['CURSOR_EXPIRED'],
});

export const getToken = route({
  name: 'tokens.get',
  summary: 'Shows an enrolment token, without its text',
  method: 'GET',
  path: '/tokens/{id}',
  permission: 'token.manage',
  params: idParams,
  reply: tokenSchema,
});

export const revokeToken = route({
  name: 'tokens.revoke',
  summary: 'Revokes an unspent enrolment token',
  method: 'DELETE',
  path: '/tokens/{id}',
  permission: 'token.manage',
  params: idParams,
  reply: z.object({ id: z.string(), status: z.literal('revoked') }),
  needsMatch: true,
});
