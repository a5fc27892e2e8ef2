/** Releases between hub and spoke (config.md §11.4): the hub offers, the spoke asks for what it lacks and says what it serves. */
import { z } from 'zod';
import { manifestDeltaSchema } from '../../../core/config/manifest-delta.ts';
import { kind } from '../link.ts';

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const releaseId = { epoch: z.number().int().nonnegative(), number: z.number().int().positive(), root: hash };

/** Most bytes that one answer to `release.fetch` carries. */
export const FETCH_BYTES = 256 * 1024;
/** An offer with a larger manifest goes without it; the spoke asks then. */
export const OFFER_BYTES = 128 * 1024;

export const releaseStateSchema = z.object({
  /** what check-ins are answered from */
  serving: z.object({ ...releaseId, version: z.string(), since: z.number() }).nullable(),
  /** of the release last offered */
  last: z
    .object({
      ...releaseId,
      state: z.enum(['loading', 'loaded', 'refused', 'failed']),
      error: z.string().max(4096).nullable(),
      at: z.number(),
    })
    .nullable(),
  /** highest number it ever served: the hub gives out none below */
  highest: z.number().int().nonnegative(),
  /** grows with every state said in one life of the spoke: an answer that was overtaken does not count */
  revision: z.number().int().nonnegative(),
});
export type ReleaseState = z.output<typeof releaseStateSchema>;

export const offeredSchema = z.object({
  ...releaseId,
  /** text of manifest.sig */
  signature: z.string().max(64 * 1024),
  /** null: ask for it */
  manifest: manifestDeltaSchema.nullable(),
});
export type Offered = z.output<typeof offeredSchema>;

/** hub → spoke. Answers at once; what came of it follows as `release.state`. No release: the hub has none yet and only asks. */
export const releaseOffer = kind('release.offer', z.object({ release: offeredSchema.nullable() }), releaseStateSchema);

/** spoke → hub */
export const releaseState = kind('release.state', releaseStateSchema, z.object({}));

/** spoke → hub: the manifest, as the difference to one of those at hand; the answer's data are its JSON. */
export const releaseManifest = kind(
  'release.manifest',
  z.object({ number: releaseId.number, root: hash, have: z.array(hash).max(100) }),
  z.object({}),
);

/** spoke → hub: parts of files of a release by content; the answer's data are they, one after the other. */
export const releaseFetch = kind(
  'release.fetch',
  z.object({
    number: releaseId.number,
    root: hash,
    parts: z
      .array(z.object({ sha256: hash, offset: z.number().int().nonnegative(), length: z.number().int().positive().max(FETCH_BYTES) }))
      .min(1)
      .max(2000),
  }),
  z.object({}),
);

/** hub → spoke: how the envoys do on the release that is served, for a rollout by ring. */
export const releaseHealth = kind(
  'release.health',
  z.object({}),
  z.object({
    serving: z.number().int().nonnegative(),
    envoys: z.number(),
    /** neither failed nor degraded nor diverged nor silent */
    good: z.number(),
    silent: z.number(),
    /** enforce the release that is served */
    reached: z.number(),
  }),
);
