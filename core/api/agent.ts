/** What agents fetch over REST: client certificate and `Vigo-Signed` header (server.md §6.7). */
import { z } from 'zod';
import { rootRoute } from './route.ts';

export const getBody = rootRoute({
  name: 'agent.body',
  summary: 'A bundle body that was issued to the envoy that asks',
  method: 'GET',
  path: '/agent/v1/bodies/{sha256}',
  permission: 'agent',
  params: z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  reply: z.instanceof(Uint8Array),
  form: 'text',
});
