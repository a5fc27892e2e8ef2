/** The server itself: health, version, its own description. */
import { z } from 'zod';
import { rootRoute, route } from './route.ts';

export const versionSchema = z.object({
  version: z.string(),
  node: z.string(),
  protocol: z.number(),
  fleet_id: z.string(),
  site_id: z.string(),
  role: z.string(),
});

export const getVersion = route({
  name: 'server.version',
  summary: 'Version of the server',
  method: 'GET',
  path: '/version',
  permission: 'public',
  reply: versionSchema,
});

export const getOpenApi = route({
  name: 'server.openapi',
  summary: 'This API as OpenAPI 3.1',
  method: 'GET',
  path: '/openapi.json',
  permission: 'public',
  reply: z.looseObject({ openapi: z.string() }),
});

export const doctorCheckSchema = z.object({
  name: z.string(),
  status: z.enum(['ok', 'warn', 'fail']),
  message: z.string(),
  hint: z.string().optional(),
});

export const getDoctor = route({
  name: 'server.doctor',
  summary: 'Checks of the server: keys, clock, disk, queues, database, certificates, audit log',
  method: 'GET',
  path: '/doctor',
  permission: 'server.read',
  reply: z.object({ status: z.enum(['ok', 'warn', 'fail']), checks: z.array(doctorCheckSchema) }),
});

export const getSuccession = rootRoute({
  name: 'server.succession',
  summary: 'The word of a former root key that this fleet succeeds its own, for envoys from before',
  method: 'GET',
  path: '/bootstrap/succession.json',
  permission: 'public',
  reply: z.object({ record: z.string(), signature: z.string() }),
});

export const healthz = rootRoute({
  name: 'server.healthz',
  summary: 'Answers while the process turns',
  method: 'GET',
  path: '/healthz',
  permission: 'public',
  reply: z.string(),
  form: 'text',
});

export const readyz = rootRoute({
  name: 'server.readyz',
  summary: 'Whether the server can serve envoys, with the reasons when not',
  method: 'GET',
  path: '/readyz',
  permission: 'public',
  reply: z.object({ ready: z.boolean(), reasons: z.array(z.string()) }),
});

export const getMetrics = rootRoute({
  name: 'server.metrics',
  summary: 'Metrics as Prometheus text',
  method: 'GET',
  path: '/metrics',
  permission: 'metrics',
  reply: z.string(),
  form: 'text',
});

export const bootstrapCa = rootRoute({
  name: 'bootstrap.ca',
  summary: 'The root CA; compare its pin',
  method: 'GET',
  path: '/bootstrap/ca.pem',
  permission: 'public',
  reply: z.string(),
  form: 'text',
});
