/** One object a REST route: it serves the router, the client, the tests and the OpenAPI page (server.md §6.1). */
import { z } from 'zod';
import type { ErrorCode } from '../base/errors.ts';
import type { RoutePermission } from './permissions.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface RouteContract<
  P extends z.ZodType = z.ZodType,
  Q extends z.ZodType = z.ZodType,
  B extends z.ZodType = z.ZodType,
  R extends z.ZodType = z.ZodType,
> {
  /** `noun.verb`, unique */
  readonly name: string;
  readonly summary: string;
  readonly method: Method;
  /** with `{name}` for parameters, below {@link API_BASE} when it starts with `/api` */
  readonly path: string;
  readonly permission: RoutePermission;
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly reply: R;
  /** beside 400, 401, 403, 404 and 429, which every route may answer */
  readonly codes: readonly ErrorCode[];
  /** status of a good answer; handlers may choose another of 2xx */
  readonly status: number;
  /** `text`: a text with its own content type; `events`: server-sent events whose data are `reply` */
  readonly form: 'json' | 'text' | 'events';
  /** POST: an Idempotency-Key must come with it */
  readonly needsKey: boolean;
  /** PUT, PATCH, DELETE of a single thing: If-Match must come with it */
  readonly needsMatch: boolean;
}

export const API_BASE = '/api/v1';
export const nothing = z.strictObject({});

type Given<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType> = Pick<
  RouteContract<P, Q, B, R>,
  'name' | 'summary' | 'method' | 'path' | 'permission' | 'reply'
> &
  Partial<Pick<RouteContract<P, Q, B, R>, 'params' | 'query' | 'body' | 'codes' | 'status' | 'form' | 'needsKey' | 'needsMatch'>>;

/** A contract with the parts left out filled in; `path` is given below `/api/v1`. */
export function route<
  R extends z.ZodType,
  P extends z.ZodType = typeof nothing,
  Q extends z.ZodType = typeof nothing,
  B extends z.ZodType = typeof nothing,
>(given: Given<P, Q, B, R>): RouteContract<P, Q, B, R> {
  return { ...rootRoute(given), path: API_BASE + given.path };
}

/** As {@link route}, with the path as it is. */
export function rootRoute<
  R extends z.ZodType,
  P extends z.ZodType = typeof nothing,
  Q extends z.ZodType = typeof nothing,
  B extends z.ZodType = typeof nothing,
>(given: Given<P, Q, B, R>): RouteContract<P, Q, B, R> {
  return {
    params: nothing as unknown as P,
    query: nothing as unknown as Q,
    body: nothing as unknown as B,
    codes: [],
    status: 200,
    form: 'json',
    needsKey: false,
    needsMatch: false,
    ...given,
  };
}

/** `?limit=` and `?cursor=` of every list. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: z.string().max(8192).optional(),
};

/** What a hub says of each spoke it asked. */
export const spokeStatusSchema = z.object({
  id: z.string(),
  status: z.enum(['answered', 'timed_out', 'offline']),
  /** age of what it answers from; of a silent one, since it was heard last; null: never */
  age_s: z.number().nullable(),
  error: z.string().optional(),
});
export type SpokeStatusItem = z.output<typeof spokeStatusSchema>;

/** How complete an answer about the fleet is. Servers without spokes name none and are complete. */
const completeness = { complete: z.boolean(), spokes: z.array(spokeStatusSchema) };

/** As {@link completeness}, of answers that are no lists: servers without spokes leave it out. */
export const maybeCompleteness = { complete: z.boolean().optional(), spokes: z.array(spokeStatusSchema).optional() };

/** A list answer. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item), next_cursor: z.string().nullable(), ...completeness });
}

/** RFC 3339 in UTC, or null where there is none yet. */
export const time = z.string().nullable();
/** A flag in a query string. */
export const queryFlag = z
  .enum(['true', 'false'])
  .transform((text) => text === 'true')
  .optional();
/** Of questions about the fleet: one spoke alone; and no answer rather than one with holes. */
export const fleetQuery = { spoke: z.string().max(64).optional(), require_complete: queryFlag };
export const idParams = z.strictObject({ id: z.string().min(1).max(300) });
export const reasonText = z.string().trim().min(1).max(500);
/** labels and other small texts */
export const smallText = z.string().max(200);
