/** What the server must know of a resource type: pure data. How it is enforced is agent/executors/<type>.ts. */
import type { z } from 'zod';
import type { Json } from '../base/json.ts';

export const OS_FAMILIES = ['linux', 'macos', 'freebsd', 'openbsd', 'netbsd', 'illumos', 'windows', 'network'] as const;
export type OsFamily = (typeof OS_FAMILIES)[number];

/** Families of types that exist on every host, and on every host but Windows. */
export const ALL_HOSTS: readonly OsFamily[] = ['linux', 'macos', 'freebsd', 'openbsd', 'netbsd', 'illumos', 'windows'];
export const UNIX_FAMILIES: readonly OsFamily[] = ['linux', 'macos', 'freebsd', 'openbsd', 'netbsd', 'illumos'];

/**
 * How the loader and the rules treat an attribute, beyond its zod type:
 * octal = unquoted YAML integer is SCHEMA-3; list = a comma-separated text is split; command = command text (guardrails, no secrets);
 * path = absolute path on the node; url = checked for aliveness; text = full template (content only).
 */
export type AttributeKind = 'text' | 'string' | 'octal' | 'list' | 'map' | 'bool' | 'int' | 'duration' | 'command' | 'path' | 'url';

export interface AttributeDoc {
  readonly kind: AttributeKind;
  readonly required?: true;
  readonly default?: Json;
  readonly allowed?: readonly string[];
  readonly aliases?: readonly string[];
  readonly note: string;
}

export interface ResourceSpec<A extends z.ZodObject = z.ZodObject> {
  readonly type: string;
  readonly summary: string;
  readonly families: readonly OsFamily[];
  /** first = default; empty for types without states */
  readonly states: readonly string[];
  /** the attribute that identifies what is managed: default of `name`, IDEM-7 */
  readonly primary: string;
  readonly docs: Readonly<Record<string, AttributeDoc>>;
  /** parses rendered attributes on the agent; its keys are those of `docs` */
  readonly attributes: A;
  /** paths this resource would touch (GUARD-1) */
  touches?(attributes: Readonly<Record<string, Json>>): readonly string[];
  /** command texts this resource would run (GUARD-4) */
  commands?(attributes: Readonly<Record<string, Json>>): readonly string[];
  readonly examples: readonly string[];
}

/** Checks once, at load, that docs and schema name the same attributes. */
export function defineResource<A extends z.ZodObject>(spec: ResourceSpec<A>): ResourceSpec<A> {
  const declared = Object.keys(spec.attributes.shape).sort().join();
  const documented = Object.keys(spec.docs).sort().join();
  if (declared !== documented) throw new TypeError(`resource ${spec.type}: attributes ${declared} but docs ${documented}`);
  return spec;
}
