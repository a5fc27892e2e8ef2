/** Where secret values come from (config.md §9.6). */
import { CodedError } from '../../core/base/errors.ts';

export interface SecretProvider {
  readonly name: string;
  /** start-up probe: rejects when the server must not start */
  check(): Promise<void>;
  exists(path: string): Promise<{ readonly version: string } | null>;
  /** null: missing; a rejection: unavailable */
  get(path: string): Promise<{ readonly value: Uint8Array; readonly version: string } | null>;
  list?(prefix: string): AsyncIterable<string>;
  set?(path: string, value: Uint8Array): Promise<void>;
  remove?(path: string): Promise<boolean>;
}

export interface SecretRef {
  readonly path: string;
  readonly field?: string | undefined;
}

const PATH = /^[A-Za-z0-9_][A-Za-z0-9_./-]{0,255}$/;
const FIELD = /^[A-Za-z0-9_-]{1,64}$/;

/** No `..`, no `.` part, no `//`, no trailing `/`, at most 256 bytes (config.md §9.1). */
export function isSecretPath(path: string): boolean {
  return PATH.test(path) && !path.split('/').some((part) => part === '' || part === '.' || part === '..');
}

/** `path` or `path#field`; undefined when malformed. */
export function parseSecretRef(ref: string): SecretRef | undefined {
  const at = ref.indexOf('#');
  const path = at < 0 ? ref : ref.slice(0, at);
  const field = at < 0 ? undefined : ref.slice(at + 1);
  return isSecretPath(path) && (field === undefined || FIELD.test(field)) ? { path, field } : undefined;
}

export function requireSecretPath(path: string): void {
  if (!isSecretPath(path))
    throw new CodedError('BAD_REQUEST', 'not a secret path', { hint: 'letters, digits, _ . - and / between parts, at most 256' });
}

export function unavailable(message: string, cause?: unknown): CodedError {
  return new CodedError('SECRETS_UNAVAILABLE', message, { cause });
}
