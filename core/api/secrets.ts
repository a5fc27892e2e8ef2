/** Secrets: names, versions and uses; values only inwards, and outwards by `reveal` alone. */
import { z } from 'zod';
import { fleetQuery, maybeCompleteness, pageOf, pageQuery, queryFlag, reasonText, route, time } from './route.ts';

const pathParams = z.strictObject({ path: z.string().min(1).max(512) });

export const secretMetaSchema = z.object({ path: z.string(), version: z.string(), changed_at: time, used_by: z.array(z.string()) });
export type SecretItem = z.output<typeof secretMetaSchema>;
export const secretRefSchema = z.object({
  ref: z.string(),
  file: z.string(),
  line: z.number(),
  entries: z.array(z.string()),
  missing: z.boolean(),
  /** at a hub: spokes that cannot resolve it */
  missing_at: z.array(z.string()).optional(),
});

export const listSecrets = route({
  name: 'secrets.list',
  summary: 'Lists secrets by path, never values',
  method: 'GET',
  path: '/secrets',
  permission: 'secrets.read',
  query: z.strictObject({ ...pageQuery, prefix: z.string().max(512).optional() }),
  reply: pageOf(secretMetaSchema),
  codes: ['SECRETS_UNAVAILABLE'],
});

export const secretMeta = route({
  name: 'secrets.meta',
  summary: 'Version and uses of a secret',
  method: 'GET',
  path: '/secrets/{path}/meta',
  permission: 'secrets.read',
  params: pathParams,
  reply: secretMetaSchema,
  codes: ['SECRETS_UNAVAILABLE', 'SECRET_MISSING'],
});

export const secretRefs = route({
  name: 'secrets.refs',
  summary: 'Where references are used in the live release',
  method: 'GET',
  path: '/secret-refs',
  permission: 'secrets.read',
  query: z.strictObject({ ...fleetQuery, path: z.string().max(512).optional(), missing: queryFlag }),
  reply: z.object({ items: z.array(secretRefSchema), ...maybeCompleteness }),
  codes: ['SECRETS_UNAVAILABLE', 'NOT_READY'],
});

export const putSecret = route({
  name: 'secrets.put',
  summary: 'Stores a secret',
  method: 'PUT',
  path: '/secrets/{path}',
  permission: 'secrets.write',
  params: pathParams,
  /** base64, so that any bytes can be stored */
  body: z.strictObject({ value: z.base64().max(88_000) }),
  reply: z.object({ path: z.string(), version: z.string(), envoys: z.number() }),
  codes: ['SECRETS_UNAVAILABLE', 'UNIMPLEMENTED'],
  needsMatch: true,
});

export const deleteSecret = route({
  name: 'secrets.delete',
  summary: 'Removes a secret',
  method: 'DELETE',
  path: '/secrets/{path}',
  permission: 'secrets.write',
  params: pathParams,
  reply: z.object({ path: z.string(), status: z.literal('deleted') }),
  codes: ['SECRETS_UNAVAILABLE', 'SECRET_MISSING', 'UNIMPLEMENTED'],
  needsMatch: true,
});

export const revealSecret = route({
  name: 'secrets.reveal',
  summary: 'Answers the value, after the audit record is written',
  method: 'POST',
  path: '/secrets/{path}/reveal',
  permission: 'secrets.reveal',
  params: pathParams,
  body: z.strictObject({ reason: reasonText }),
  reply: z.object({ path: z.string(), version: z.string(), value: z.base64() }),
  codes: ['SECRETS_UNAVAILABLE', 'SECRET_MISSING'],
});
