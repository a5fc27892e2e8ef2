/** Who is asking, and the tokens of the API. */
import { z } from 'zod';
import { PERMISSIONS } from './permissions.ts';
import { idParams, route, time } from './route.ts';

export const getSession = route({
  name: 'session.get',
  summary: 'Who asks, with which role and permissions',
  method: 'GET',
  path: '/session',
  permission: 'signed-in',
  reply: z.object({
    kind: z.enum(['user', 'token', 'local', 'envoy']),
    user: z.string(),
    role: z.string(),
    permissions: z.array(z.string()),
    scope: z.json(),
    token_id: z.string().nullable(),
    expires_at: time,
  }),
});

export const apiTokenSchema = z.object({
  id: z.string(),
  name: z.string(),
  user: z.string(),
  scopes: z.array(z.string()),
  created_at: time,
  expires_at: time,
  last_used_at: time,
  last_used_from: z.string(),
});
export type ApiTokenItem = z.output<typeof apiTokenSchema>;

export const createApiToken = route({
  name: 'api-tokens.create',
  summary: 'Makes an API token; its text is answered once',
  method: 'POST',
  path: '/api-tokens',
  permission: 'signed-in',
  body: z.strictObject({
    name: z.string().min(1).max(100),
    expires_in_s: z
      .number()
      .int()
      .positive()
      .max(365 * 86_400)
      .default(720 * 3600),
    scopes: z.array(z.enum(PERMISSIONS)).default([]),
    user: z.string().min(1).max(100).optional(),
  }),
  reply: apiTokenSchema.extend({ token: z.string() }),
  status: 201,
  needsKey: true,
});

export const listApiTokens = route({
  name: 'api-tokens.list',
  summary: 'Lists API tokens: own ones, or those of another user',
  method: 'GET',
  path: '/api-tokens',
  permission: 'signed-in',
  query: z.strictObject({ user: z.string().max(100).optional() }),
  reply: z.object({ items: z.array(apiTokenSchema) }),
});

export const revokeApiToken = route({
  name: 'api-tokens.revoke',
  summary: 'Revokes an API token',
  method: 'DELETE',
  path: '/api-tokens/{id}',
  permission: 'signed-in',
  params: idParams,
  reply: z.object({ id: z.string(), status: z.literal('revoked') }),
  needsMatch: true,
});
