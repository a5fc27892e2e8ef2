/** References to values: statuses as the agent sees them, one provider read a path, versions and digests for secrets epochs. */
import { createHash } from 'node:crypto';
import { isPlainObject } from '../../core/base/json.ts';
import { SecretValue } from '../../core/base/secret-value.ts';
import { parseSecretRef, type SecretProvider, unavailable } from './provider.ts';

export type Resolved =
  | { readonly status: 'ok'; readonly value: SecretValue; readonly version: string }
  | { readonly status: 'missing' }
  | { readonly status: 'unavailable'; readonly why: string };

/** Values are texts; a value that is not UTF-8 cannot be one. */
function textOf(value: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value);
  } catch {
    // the reason would quote bytes of the secret
    return undefined;
  }
}

function fieldOf(text: string, field: string): string | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    if (!isPlainObject(parsed) || !Object.hasOwn(parsed, field)) return undefined;
    const value = parsed[field];
    return typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
  } catch {
    // the reason would quote the secret
    return undefined;
  }
}

/** Each reference with its outcome; never throws for a single one. A missing field is a missing secret. */
export async function resolveRefs(provider: SecretProvider, refs: readonly string[]): Promise<ReadonlyMap<string, Resolved>> {
  const reads = new Map<string, Promise<Resolved>>();
  const read = async (path: string): Promise<Resolved> => {
    try {
      const found = await provider.get(path);
      if (found === null) return { status: 'missing' };
      const text = textOf(found.value);
      if (text === undefined) return { status: 'unavailable', why: 'the value is not UTF-8 text' };
      return { status: 'ok', value: new SecretValue(text), version: found.version };
    } catch (thrown) {
      return { status: 'unavailable', why: thrown instanceof Error ? thrown.message : 'the provider failed' };
    }
  };
  const results = new Map<string, Resolved>();
  for (const ref of refs) {
    const parsed = parseSecretRef(ref);
    if (parsed === undefined) {
      results.set(ref, { status: 'missing' });
      continue;
    }
    const pending = reads.get(parsed.path) ?? read(parsed.path);
    reads.set(parsed.path, pending);
    const whole = await pending;
    if (whole.status !== 'ok' || parsed.field === undefined) results.set(ref, whole);
    else {
      const field = fieldOf(whole.value.reveal(), parsed.field);
      results.set(
        ref,
        field === undefined ? { status: 'missing' } : { status: 'ok', value: new SecretValue(field), version: whole.version },
      );
    }
  }
  return results;
}

/** Versions of all paths of these references; null is a missing one. Rejects when the provider is away. */
export async function versionsOf(provider: SecretProvider, refs: readonly string[]): Promise<ReadonlyMap<string, string | null>> {
  const versions = new Map<string, string | null>();
  for (const ref of refs) {
    const path = parseSecretRef(ref)?.path;
    if (path === undefined || versions.has(path)) continue;
    try {
      versions.set(path, (await provider.exists(path))?.version ?? null);
    } catch (thrown) {
      throw unavailable(`the secret provider ${provider.name} does not answer`, thrown);
    }
  }
  return versions;
}

/** What a secrets epoch belongs to (config.md §9.3): the sorted references of an entry and the versions behind them. */
export function secretsDigest(refs: readonly string[], versions: ReadonlyMap<string, string | null>): string {
  const hash = createHash('sha256');
  for (const ref of [...new Set(refs)].sort()) hash.update(`${ref}\0${versions.get(parseSecretRef(ref)?.path ?? '') ?? ''}\0`);
  return hash.digest('hex');
}
