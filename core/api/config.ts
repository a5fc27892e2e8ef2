/** Configuration: validate, publish, releases, and why an envoy gets what it gets. */
import { z } from 'zod';
import { pageOf, pageQuery, queryFlag, route, smallText, time } from './route.ts';

export const findingSchema = z.object({
  rule: z.string(),
  severity: z.enum(['error', 'warning', 'info']),
  message: z.string(),
  hint: z.string().optional(),
  at: z.object({ file: z.string(), line: z.number(), column: z.number() }).optional(),
  module: z.string().optional(),
  resource: z.string().optional(),
  entry: z.string().optional(),
});
export type Finding = z.output<typeof findingSchema>;

export const liveSchema = z.object({ number: z.number(), version: z.string(), root: z.string() });

export const configVersion = route({
  name: 'config.version',
  summary: 'The live release',
  method: 'GET',
  path: '/config/version',
  permission: 'config.read',
  reply: z.object({ live: liveSchema.nullable(), loaded: liveSchema.nullable() }),
});

/** What a spoke serves, from its own mouth. */
export const spokeReleaseSchema = z.object({
  spoke: z.string(),
  state: z.enum(['loading', 'loaded', 'refused', 'failed', 'unknown']),
  number: z.number().nullable(),
  version: z.string().nullable(),
  root: z.string().nullable(),
  /** when it began to serve it */
  since: time,
  /** releases behind; null where it never said */
  lag: z.number().nullable(),
  error: z.string().nullable(),
  heard_at: time,
  /** from the offer until it was served, and the bytes that took */
  served_after_ms: z.number().nullable(),
  bytes: z.number().nullable(),
});
export type SpokeReleaseItem = z.output<typeof spokeReleaseSchema>;

export const rolloutSchema = z.object({
  number: z.number(),
  state: z.enum(['preparing', 'running', 'done', 'reverted', 'stopped', 'superseded']),
  /** the ring under way */
  ring: z.string().nullable(),
  rings: z.array(z.string()),
  error: z.string().nullable(),
  started_at: time,
  changed_at: time,
});

export const configStatus = route({
  name: 'config.status',
  summary: 'Live and loaded release, last error, freeze, and whether the stage differs',
  method: 'GET',
  path: '/config/status',
  permission: 'config.read',
  reply: z.object({
    healthy: z.boolean(),
    live: liveSchema.nullable(),
    loaded: liveSchema.nullable(),
    last_error: z.string().nullable(),
    freeze: z.object({ until: time, reason: z.string() }).nullable(),
    pending: z.number(),
    watch: z.json().nullable(),
    stage_is_live: z.boolean().nullable(),
    /** at a hub */
    spokes: z.array(spokeReleaseSchema).optional(),
    rollout: rolloutSchema.nullable().optional(),
  }),
});

export const validateConfig = route({
  name: 'config.validate',
  summary: 'Validates the stage without publishing',
  method: 'POST',
  path: '/config/validate',
  permission: 'config.publish',
  body: z.strictObject({ strict: z.boolean().optional(), skip_url_check: z.boolean().optional() }),
  reply: z.object({ root: z.string(), errors: z.number(), warnings: z.number(), findings: z.array(findingSchema) }),
});

export const publishResultSchema = z.object({
  status: z.enum(['live', 'nothing', 'dry_run', 'pending', 'refused']),
  number: z.number().nullable(),
  version: z.string().nullable(),
  root: z.string(),
  findings: z.array(findingSchema),
  files: z.object({ added: z.array(z.string()), changed: z.array(z.string()), removed: z.array(z.string()) }),
  impact: z.object({ envoys: z.number(), entries: z.number(), unmatched: z.number(), lines: z.array(z.string()) }),
  replicated: z.boolean().optional(),
  message: z.string().optional(),
});
export type PublishResult = z.output<typeof publishResultSchema>;

export const publishConfig = route({
  name: 'config.publish',
  summary: 'Publishes the stage as the next release',
  method: 'POST',
  path: '/config/publish',
  permission: 'config.publish',
  body: z.strictObject({
    message: z.string().max(2000).optional(),
    dry_run: z.boolean().optional(),
    dangerous: z.boolean().optional(),
    skip_url_check: z.boolean().optional(),
    reason: z.string().max(500).optional(),
    /** go live only when the stage still has this root hash */
    root: z
      .string()
      .regex(/^[0-9a-f]{8,64}$/)
      .optional(),
    strict: z.boolean().optional(),
    /** at a hub: ring after ring of publish.rings, each only when the one before does well */
    rings: z.boolean().optional(),
  }),
  reply: publishResultSchema,
  codes: ['FROZEN', 'PUBLISH_BUSY', 'VALIDATION_FAILED', 'STAGE_CHANGED'],
});

export const rollbackConfig = route({
  name: 'config.rollback',
  summary: 'Publishes an earlier release again under a new number',
  method: 'POST',
  path: '/config/rollback',
  permission: 'config.rollback',
  body: z.strictObject({
    number: z.number().int().positive().optional(),
    message: z.string().max(2000).optional(),
    dangerous: z.boolean().optional(),
  }),
  reply: publishResultSchema,
  codes: ['PUBLISH_BUSY', 'VALIDATION_FAILED'],
});

export const releaseSchema = z.object({
  number: z.number(),
  version: z.string(),
  root: z.string(),
  author: z.string(),
  approver: z.string(),
  message: z.string(),
  created_at: time,
  files: z.object({ added: z.number(), changed: z.number(), removed: z.number() }),
  entries_affected: z.number(),
  envoys_affected: z.number(),
  warnings: z.number(),
  flags: z.array(z.string()),
  rollback_of: z.number().nullable(),
  result: z.string(),
  live: z.boolean(),
});
export type ReleaseItem = z.output<typeof releaseSchema>;

export const listReleases = route({
  name: 'config.releases',
  summary: 'The publish history, newest first',
  method: 'GET',
  path: '/config/releases',
  permission: 'config.read',
  query: z.strictObject(pageQuery),
  reply: pageOf(releaseSchema),
  codes: ['CURSOR_EXPIRED'],
});

export const getRelease = route({
  name: 'config.release',
  summary: 'Shows a release and its manifest',
  method: 'GET',
  path: '/config/releases/{number}',
  permission: 'config.read',
  params: z.strictObject({ number: z.coerce.number().int().positive() }),
  reply: releaseSchema.extend({ manifest: z.json().nullable() }),
});

export const traceConfig = route({
  name: 'config.trace',
  summary: 'Why a host has the policy it has, each fact with its file and line',
  method: 'GET',
  path: '/config/trace',
  permission: 'config.read',
  query: z.strictObject({
    name: z.string().min(1).max(253),
    stage: queryFlag,
    release: z.coerce.number().int().positive().optional(),
    env: smallText.optional(),
    module: queryFlag,
    sections: z.string().max(200).optional(),
    resource: z.string().max(300).optional(),
  }),
  reply: z.looseObject({ host: z.string().nullable(), release: z.number(), match: z.json() }),
  codes: ['AMBIGUOUS_NAME', 'NOT_READY'],
});

export const configTree = route({
  name: 'config.tree',
  summary: 'Directories and entries with the number of envoys that match them',
  method: 'GET',
  path: '/config/tree',
  permission: 'config.read',
  query: z.strictObject({ dir: z.string().max(1024).optional(), stage: queryFlag }),
  reply: z.object({
    directories: z.array(
      z.object({
        path: z.string(),
        marks: z.string(),
        entries: z.array(
          z.object({
            ordinal: z.number(),
            file: z.string(),
            line: z.number(),
            patterns: z.array(z.string()),
            environment: z.string().nullable(),
            envoys: z.number(),
          }),
        ),
      }),
    ),
  }),
  codes: ['NOT_READY'],
});
