/** How a spoke joins its hub: by token, with keys it made itself (server.md §8.4). */
import { z } from 'zod';
import { route } from './route.ts';

const signedRecord = z.object({ record: z.string().max(8192), signature: z.string().max(128) });

export const joinRequestSchema = z.strictObject({
  /** id and secret of the join token */
  spoke_id: z.string().max(32),
  secret: z.string().max(64),
  /** raw 32 bytes, base64 */
  server_key: z.string().regex(/^[A-Za-z0-9+/]{43}=$/),
  /** PKCS#10 for the key of the site's intermediate CA */
  ca_csr: z.string().max(8192),
  version: z.string().max(64),
  /** Ed25519 by the server key, domain `link`, over canonical JSON of the other fields */
  proof: z.base64().max(128),
});
export type JoinRequest = z.output<typeof joinRequestSchema>;

export const joinReplySchema = z.object({
  fleet_id: z.string(),
  site_id: z.string(),
  server_id: z.string(),
  epoch: z.number().int().positive(),
  /** raw 32 bytes, base64 */
  root_public_key: z.string(),
  root_ca: z.string(),
  site_ca: z.string(),
  delegation: signedRecord,
  revoked: z.array(signedRecord),
  /** the site of the hub, and the delegation of the server that answers */
  hub_site: z.string(),
  hub_delegation: signedRecord,
  /** by the hub's server key, domain `link`, over canonical JSON of the other fields */
  signature: z.string(),
});
export type JoinReply = z.output<typeof joinReplySchema>;

export const joinSpanner = route({
  name: 'spanner.join',
  summary: 'Makes a spoke of a server that shows a join token',
  method: 'POST',
  path: '/spanner/join',
  permission: 'public',
  body: joinRequestSchema,
  reply: joinReplySchema,
  status: 201,
  codes: [
    'TOKEN_UNKNOWN',
    'TOKEN_EXPIRED',
    'TOKEN_ALREADY_SPENT',
    'WEAK_KEY',
    'BAD_PROOF',
    'BAD_CSR',
    'NOT_READY',
    'ASK_HUB',
    'UNIMPLEMENTED',
  ],
});
