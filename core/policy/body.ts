/** The bundle body (config.md §13.1): the same bytes for every envoy of an entry, canonical JSON. */
import { z } from 'zod';
import type { Json } from '../base/json.ts';
import type { Ast, Cond } from '../when/ast.ts';

/** Version of the body's shape; an agent refuses a body of another schema. */
export const BODY_SCHEMA = 1;

export interface Ref {
  readonly module: string;
  readonly resource?: string | undefined;
}

export interface VarsWhen {
  readonly when?: Cond | undefined;
  readonly vars: Readonly<Record<string, Json>>;
}

export interface BodyResource {
  readonly name: string;
  readonly type: string;
  readonly attrs: Readonly<Record<string, Json>>;
  readonly when?: Cond | undefined;
  readonly trigger_only: boolean;
  readonly sensitive: boolean;
  readonly depends_on: readonly Ref[];
  readonly notify: readonly Ref[];
  readonly case?: { readonly expr: string; readonly match: Readonly<Record<string, Readonly<Record<string, Json>>>> } | undefined;
  readonly timeout_s?: number | undefined;
  readonly nice?: number | undefined;
  readonly group?: string | undefined;
  readonly item?: Json | undefined;
  readonly index?: number | undefined;
  readonly revert?: boolean | undefined;
}

export interface BodyModule {
  readonly name: string;
  /** SHA-256 hex of the canonical JSON of the module without this member */
  readonly hash: string;
  /** `file:line` of the module */
  readonly origin: string;
  readonly when?: Cond | undefined;
  readonly vars: Readonly<Record<string, Json>>;
  readonly vars_when: readonly VarsWhen[];
  readonly compliance: Readonly<Record<string, readonly string[]>>;
  readonly notify: readonly Ref[];
  readonly subscribes: readonly Ref[];
  /** execution order */
  readonly resources: readonly BodyResource[];
}

export interface Body {
  readonly schema: typeof BODY_SCHEMA;
  readonly release: number;
  readonly version: string;
  /** the entry's patterns, comma-separated */
  readonly match: string;
  /** `file#index` */
  readonly entry: string;
  readonly environment: string | null;
  readonly roles: readonly string[];
  readonly secrets_epoch: number;
  readonly secret_refs: readonly string[];
  readonly module_count: number;
  readonly resource_count: number;
  readonly vars: Readonly<Record<string, Json>>;
  readonly vars_when: readonly VarsWhen[];
  /** execution order */
  readonly modules: readonly BodyModule[];
  readonly templates: Readonly<Record<string, string>>;
  readonly devices: readonly Json[];
}

/** A secret reference inside body text: U+0001 `sec:` path[`#`field] U+0001 (config.md §9.3). */
export const SECRET_MARK = '\u0001';

/** A template file that is not UTF-8 travels as this prefix and base64, and is written as it is, not rendered (config.md §8.1). */
export const RAW_TEMPLATE = `${SECRET_MARK}raw:`;

/** The marker of a reference such as `db/password` or `db/creds#user`. */
export function secretMarker(ref: string): string {
  return `${SECRET_MARK}sec:${ref}${SECRET_MARK}`;
}

/** All markers of a text; group 1 is the reference. A fresh object each time: global regular expressions keep state. */
export function secretMarkers(): RegExp {
  return /\u0001sec:([^\u0001]+)\u0001/g;
}

const jsonSchema: z.ZodType<Json> = z.json();
const refSchema = z.object({ module: z.string(), resource: z.string().optional() });
const astSchema: z.ZodType<Ast> = z.lazy(() =>
  z.discriminatedUnion('op', [
    z.object({ op: z.literal(['or', 'and']), left: astSchema, right: astSchema }),
    z.object({ op: z.literal('not'), of: astSchema }),
    z.object({ op: z.literal('bool'), value: z.boolean() }),
    z.object({ op: z.literal('action'), action: z.string() }),
    z.object({
      op: z.literal('call'),
      name: z.string(),
      args: z.array(
        z.discriminatedUnion('kind', [
          z.object({ kind: z.literal('text'), parts: z.array(z.union([z.string(), z.object({ action: z.string() })])) }),
          z.object({ kind: z.literal('number'), value: z.number() }),
        ]),
      ),
    }),
  ]),
);
const condSchema = z.object({ ast: astSchema, source: z.string(), resolved: z.string() });
const varsSchema = z.record(z.string(), jsonSchema);
const varsWhenSchema = z.object({ when: condSchema.optional(), vars: varsSchema });
const resourceSchema = z.object({
  name: z.string(),
  type: z.string(),
  attrs: varsSchema,
  when: condSchema.optional(),
  trigger_only: z.boolean(),
  sensitive: z.boolean(),
  depends_on: z.array(refSchema),
  notify: z.array(refSchema),
  case: z.object({ expr: z.string(), match: z.record(z.string(), varsSchema) }).optional(),
  timeout_s: z.number().optional(),
  nice: z.number().optional(),
  group: z.string().optional(),
  item: jsonSchema.optional(),
  index: z.number().optional(),
  revert: z.boolean().optional(),
});
const moduleSchema = z.object({
  name: z.string(),
  hash: z.string(),
  origin: z.string(),
  when: condSchema.optional(),
  vars: varsSchema,
  vars_when: z.array(varsWhenSchema),
  compliance: z.record(z.string(), z.array(z.string())),
  notify: z.array(refSchema),
  subscribes: z.array(refSchema),
  resources: z.array(resourceSchema),
});

/** What an agent checks before it trusts the shape of a decoded body. */
export const bodySchema: z.ZodType<Body> = z.object({
  schema: z.literal(BODY_SCHEMA),
  release: z.number().int().nonnegative(),
  version: z.string(),
  match: z.string(),
  entry: z.string(),
  environment: z.string().nullable(),
  roles: z.array(z.string()),
  secrets_epoch: z.number().int().nonnegative(),
  secret_refs: z.array(z.string()).max(1000),
  module_count: z.number().int().nonnegative(),
  resource_count: z.number().int().nonnegative(),
  vars: varsSchema,
  vars_when: z.array(varsWhenSchema),
  modules: z.array(moduleSchema),
  templates: z.record(z.string(), z.string()),
  devices: z.array(jsonSchema),
});
