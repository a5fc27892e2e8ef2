/** Reads server.yaml: all problems together, each with its place; every effective value knows where it came from (server.md §2.1). */
import { isMap, isScalar, LineCounter, type Node, type Pair, type ParsedNode, parseDocument } from 'yaml';
import type { z } from 'zod';
import { didYouMean } from '../core/base/did-you-mean.ts';
import { isPlainObject } from '../core/base/json.ts';
import type { Problem, SourceLocation } from '../core/base/problem.ts';
import { KEYS_OF_ROLES, SECRET_KEYS, type Settings, settingsSchema } from './settings/schema.ts';

export type { Settings } from './settings/schema.ts';

export interface SettingsContext {
  /** as messages name it */
  readonly file: string;
  /** the machine's full name */
  readonly hostname: string;
}

export type SettingsResult =
  | { readonly ok: true; readonly settings: Settings; readonly origins: ReadonlyMap<string, SourceLocation> }
  | { readonly ok: false; readonly problems: readonly Problem[] };

type Path = readonly PropertyKey[];
/** Above this a file is no settings file (config.md §21). */
const MAX_BYTES = 1024 * 1024;
const MAX_ALIASES = 10_000;
const MAX_DEPTH = 32;

/** Sections whose texts are used before a secret provider exists. */
const NO_SECRETS = /^(secrets|server)\.|^database\.driver$/;

interface Source {
  readonly root: Node | null;
  at(offset: number): SourceLocation;
}

/** Where a key stands; for a missing one, where its nearest parent stands. */
function locate({ root, at }: Source, path: Path): SourceLocation {
  let node: Node | null | undefined = root;
  let place = at(0);
  for (const part of path) {
    if (isMap<ParsedNode, ParsedNode | null>(node)) {
      const pair: Pair<ParsedNode, ParsedNode | null> | undefined = node.items.find(
        (item) => isScalar(item.key) && String(item.key.value) === String(part),
      );
      if (pair === undefined) break;
      place = at(pair.key.range?.[0] ?? 0);
      node = pair.value;
    } else {
      node = (node as { get?: (key: unknown, keep: boolean) => unknown } | null)?.get?.(part, true) as Node | undefined;
      if (node?.range == null) break;
      place = at(node.range[0]);
    }
  }
  return place;
}

function textOf(path: Path): string {
  return path.map(String).join('.');
}

/** Names that the mapping at this path may have. */
function knownKeys(schema: z.ZodType, path: Path): readonly string[] {
  let now: unknown = schema;
  for (const part of [...path, undefined]) {
    // through default, prefault, optional and pipes to the mapping or list itself
    for (;;) {
      const def = (now as { def?: { innerType?: unknown; in?: unknown } } | undefined)?.def;
      if (def?.innerType !== undefined) now = def.innerType;
      else if (def?.in !== undefined) now = def.in;
      else break;
    }
    if (part === undefined) break;
    const { shape, element } = now as { shape?: Record<string, unknown>; element?: unknown };
    now = typeof part === 'number' ? element : shape?.[String(part)];
  }
  return Object.keys((now as { shape?: object } | undefined)?.shape ?? {});
}

function problem(message: string, at: SourceLocation, hint?: string): Problem {
  return { rule: 'SETTINGS', severity: 'error', message, at, hint };
}

function unknownKey(schema: z.ZodType, path: Path, key: string, source: Source): Problem {
  const name = textOf([...path, key]);
  const at = locate(source, [...path, key]);
  return problem(`unknown key ${name}`, at, didYouMean(key, knownKeys(schema, path)));
}

/** Keys that are given although the role has no use for them (server.md §2.1). */
function ofOtherRoles(raw: unknown, role: Settings['spanner']['role'], source: Source): readonly Problem[] {
  return Object.entries(KEYS_OF_ROLES).flatMap(([name, roles]) => {
    const path = name.split('.');
    if (roles.includes(role) || !has(raw, path)) return [];
    return [problem(`${name} belongs to role ${roles.join(' or ')}, and this server's role is ${role}`, locate(source, path))];
  });
}

/** What depends on more than one key. */
function together(settings: Settings): readonly { readonly path: Path; readonly message: string }[] {
  const found: { path: Path; message: string }[] = [];
  const refuse = (condition: boolean, path: Path, message: string) => void (condition && found.push({ path, message }));
  const { database, secrets, server, auth, peers, spanner, limits, publish } = settings;
  const { role } = spanner;
  refuse(role === 'spoke' && spanner.spoke_id === undefined, ['spanner'], 'spanner.spoke_id is needed with role spoke');
  refuse(role === 'spoke' && spanner.hub_addr === undefined, ['spanner'], 'spanner.hub_addr is needed with role spoke');
  refuse(['hub', 'main'].includes(spanner.spoke_id ?? ''), ['spanner', 'spoke_id'], `a spoke cannot be called ${spanner.spoke_id}`);
  const ids = spanner.spokes.map(({ id }) => id);
  ids.forEach((id, index) => {
    refuse(ids.indexOf(id) !== index, ['spanner', 'spokes', index, 'id'], `there are two spokes ${id}`);
    refuse(['hub', 'main', 'none'].includes(id), ['spanner', 'spokes', index, 'id'], `a spoke cannot be called ${id}`);
  });
  refuse(database.driver === 'postgres' && database.url === undefined, ['database'], 'database.url is needed with driver postgres');
  refuse(database.driver === 'sqlite' && database.url !== undefined, ['database', 'url'], 'database.url belongs to driver postgres');
  refuse(
    (server.tls.api_cert_file === undefined) !== (server.tls.api_key_file === undefined),
    ['server', 'tls'],
    'tls.api_cert_file and tls.api_key_file are given together or not at all',
  );
  for (const backend of ['vault', 'command', 'file'] as const) {
    const written = secrets[backend] !== undefined;
    refuse(written && secrets.backend !== backend, ['secrets', backend], `secrets.${backend} belongs to backend ${backend}`);
    refuse(!written && secrets.backend === backend, ['secrets'], `secrets.${backend} is needed with backend ${backend}`);
  }
  refuse(secrets.file?.allow_insecure_file === false, ['secrets', 'file'], 'secrets.file.allow_insecure_file must be true');
  refuse(auth.methods.includes('oidc') && auth.oidc === undefined, ['auth'], 'auth.oidc is needed with method oidc');
  refuse(peers.members.length > 0 && peers.self === undefined, ['peers'], 'peers.self is needed with peers.members');
  const { checkin_pct, results_pct, enroll_pct, admin_pct } = limits.budget;
  refuse(checkin_pct + results_pct + enroll_pct + admin_pct > 100, ['limits', 'budget'], 'the shares of limits.budget exceed 100');
  publish.rings.forEach((ring, index) => {
    const selectors = [ring.share_pct, ring.label, ring.spoke, ring.target].filter((selector) => selector !== undefined);
    refuse(selectors.length > 1, ['publish', 'rings', index], 'a ring has one selector: share_pct, label, spoke or target');
  });
  const names = settings.webhooks.map((hook) => hook.name);
  names.forEach((name, index) => {
    refuse(names.indexOf(name) !== index, ['webhooks', index, 'name'], `there are two webhooks ${name}`);
  });
  return found;
}

/** An anchor that holds its own alias makes an endless value. */
function isTooDeep(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return depth >= MAX_DEPTH || Object.values(value).some((member) => isTooDeep(member, depth + 1));
}

/** Paths and values of all leaves that the file gives. */
function* leaves(value: unknown, path: Path = []): Generator<{ path: Path; value: unknown }> {
  if (isPlainObject(value)) for (const [key, member] of Object.entries(value)) yield* leaves(member, [...path, key]);
  else if (Array.isArray(value)) for (const [index, member] of value.entries()) yield* leaves(member, [...path, index]);
  else yield { path, value };
}

/** `secrets.provider` is another name of `secrets.backend`. */
function withoutAlias(raw: unknown): unknown {
  if (!isPlainObject(raw) || !isPlainObject(raw['secrets']) || !Object.hasOwn(raw['secrets'], 'provider')) return raw;
  const { provider, ...secrets } = raw['secrets'];
  return Object.hasOwn(secrets, 'backend') ? raw : { ...raw, secrets: { ...secrets, backend: provider } };
}

export function readSettings(yaml: string, context: SettingsContext): SettingsResult {
  const lines = new LineCounter();
  const at = (offset: number): SourceLocation => {
    const { line, col } = lines.linePos(offset);
    return { file: context.file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  if (Buffer.byteLength(yaml) > MAX_BYTES) return { ok: false, problems: [problem('the file is above 1 MiB', at(0))] };
  const document = parseDocument(yaml, { version: '1.2', lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  const source: Source = { root: document.contents, at };
  const problems: Problem[] = [...document.errors, ...document.warnings].map((error) => problem(error.message, at(error.pos[0])));
  if (problems.length > 0) return { ok: false, problems };
  let raw: unknown;
  try {
    raw = withoutAlias(document.toJS({ maxAliasCount: MAX_ALIASES }) ?? {});
  } catch (thrown) {
    return { ok: false, problems: [problem(thrown instanceof Error ? thrown.message : String(thrown), at(0))] };
  }
  if (isTooDeep(raw, 0)) return { ok: false, problems: [problem(`nested deeper than ${MAX_DEPTH} levels`, at(0))] };
  const schema = settingsSchema(context.hostname);
  const parsed = schema.safeParse(raw);
  for (const issue of parsed.success ? [] : parsed.error.issues) {
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) problems.push(unknownKey(schema, issue.path, key, source));
    } else {
      const missing = issue.code === 'invalid_type' && issue.input === undefined && !has(raw, issue.path);
      const message = missing ? `${textOf(issue.path)} is needed` : `${textOf(issue.path) || 'the file'}: ${issue.message}`;
      problems.push(problem(message, locate(source, issue.path)));
    }
  }
  for (const { path, value } of leaves(raw)) {
    if (typeof value === 'string' && value.startsWith('secret:') && NO_SECRETS.test(textOf(path)))
      problems.push(
        problem(`${textOf(path)} cannot be a secret reference: it is read before there is a secret provider`, locate(source, path)),
      );
  }
  if (parsed.success) problems.push(...ofOtherRoles(raw, parsed.data.spanner.role, source));
  if (parsed.success) for (const { path, message } of together(parsed.data)) problems.push(problem(message, locate(source, path)));
  if (!parsed.success || problems.length > 0) return { ok: false, problems: problems.sort(byPlace) };
  const origins = new Map<string, SourceLocation>();
  for (const { path } of leaves(raw)) origins.set(textOf(path), locate(source, path));
  return { ok: true, settings: parsed.data, origins };
}

function has(raw: unknown, path: Path): boolean {
  let now: unknown = raw;
  for (const part of path) {
    if (typeof now !== 'object' || now === null || !Object.hasOwn(now, part)) return false;
    now = (now as Record<PropertyKey, unknown>)[part];
  }
  return true;
}

function byPlace(a: Problem, b: Problem): number {
  return (a.at?.line ?? 0) - (b.at?.line ?? 0) || (a.at?.column ?? 0) - (b.at?.column ?? 0);
}

export interface EffectiveValue {
  readonly key: string;
  readonly value: unknown;
  /** undefined: the default */
  readonly from: SourceLocation | undefined;
}

function isSecret(path: Path): boolean {
  return SECRET_KEYS.some((pattern) => {
    const parts = pattern.split('.');
    return parts.length === path.length && parts.every((part, index) => part === '*' || part === String(path[index]));
  });
}

/** All effective values for `check-config --print`, secrets masked; a reference is shown as it is. */
export function effectiveSettings(result: Extract<SettingsResult, { ok: true }>): readonly EffectiveValue[] {
  return [...leaves(result.settings)]
    .filter(({ value }) => value !== undefined)
    .map(({ path, value }) => ({
      key: textOf(path),
      value: isSecret(path) && !String(value).startsWith('secret:') ? '[secret]' : value,
      from: result.origins.get(textOf(path)),
    }));
}
