/** What keeps trust current between hub and site: revocations both ways, and a site's delegation and CA before they run out. */
import { z } from 'zod';
import { kind } from '../link.ts';

export const signedRecordSchema = z.object({ record: z.string().max(8192), signature: z.string().max(128) });
const records = z.array(signedRecordSchema).max(10_000);

/** Either end gives all it knows and hears what the other one knows. */
export const revocationsKind = kind('trust.revocations', z.object({ records }), z.object({ records }));

/** A site asks its hub; `ca_csr` when its intermediate CA is due as well. */
export const renewIdentityKind = kind(
  'trust.renew',
  z.object({ ca_csr: z.string().max(8192).nullable() }),
  z.object({ delegation: signedRecordSchema, site_ca: z.string().nullable() }),
);
