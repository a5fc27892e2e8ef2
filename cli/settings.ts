/** Where the CLI connects and as whom: flags, then environment, then ~/.config/vigo, then the local socket (server.md §5.1). */
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { CodedError } from '../core/base/errors.ts';

const blockSchema = z.strictObject({
  server: z.string().optional(),
  token_file: z.string().optional(),
  ca_file: z.string().optional(),
  spoke: z.string().optional(),
});
const fileSchema = blockSchema.extend({ profiles: z.record(z.string(), blockSchema).optional() });

export interface CliPaths {
  readonly directory: string;
  readonly settings: string;
  readonly token: string;
  readonly ca: string;
}

type Env = Readonly<Record<string, string | undefined>>;

export function cliPaths(env: Env): CliPaths {
  const directory = join(env['XDG_CONFIG_HOME'] ?? join(env['HOME'] ?? homedir(), '.config'), 'vigo');
  return { directory, settings: join(directory, 'cli.yaml'), token: join(directory, 'token'), ca: join(directory, 'ca.pem') };
}

export type Target = { readonly kind: 'socket'; readonly path: string } | { readonly kind: 'https'; readonly url: URL };

export interface Connection {
  readonly target: Target;
  /** PEM; undefined: the system store */
  readonly ca: string | undefined;
  /** undefined on the local socket, which needs none */
  readonly token: string | undefined;
  readonly tokenFile: string;
  /** the local socket that was looked for first and could not be opened */
  readonly missedSocket?: string | undefined;
  readonly timeoutMs: number;
}

export interface ConnectionFlags {
  readonly server?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly caFile?: string | undefined;
  readonly profile?: string | undefined;
  readonly dataDir?: string | undefined;
  readonly timeout?: number | undefined;
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new CodedError('USAGE', `${path} cannot be read`, { cause: error, hint: (error as Error).message });
  }
}

function readBlock(path: string, profile: string | undefined): z.output<typeof blockSchema> {
  const text = readOptional(path);
  let raw: unknown = {};
  try {
    raw = text === undefined ? {} : (parse(text) ?? {});
  } catch (cause) {
    throw new CodedError('USAGE', `${path} is not YAML`, { cause });
  }
  const parsed = fileSchema.safeParse(raw);
  if (!parsed.success)
    throw new CodedError('USAGE', `${path}: ${parsed.error.issues[0]!.path.join('.')} ${parsed.error.issues[0]!.message}`);
  const { profiles, ...top } = parsed.data;
  if (profile === undefined) return top;
  const block = profiles !== undefined && Object.hasOwn(profiles, profile) ? profiles[profile] : undefined;
  if (block === undefined) throw new CodedError('USAGE', `${path} has no profile "${profile}"`);
  return { ...top, ...block };
}

/** A token that others can read is no secret any more. @throws CodedError KEY_FILE_PERMISSIONS */
export function readTokenFile(path: string): string | undefined {
  const text = readOptional(path);
  if (text === undefined) return undefined;
  const { mode } = statSync(path);
  if ((mode & 0o077) !== 0 && process.platform !== 'win32') {
    throw new CodedError('KEY_FILE_PERMISSIONS', `the token file ${path} can be read by others (mode ${(mode & 0o777).toString(8)})`, {
      hint: `chmod 600 ${path}; if it may have been read, revoke the token`,
    });
  }
  const token = text.trim();
  if (!/^[\x21-\x7e]{1,256}$/.test(token)) throw new CodedError('USAGE', `${path} holds no token`);
  return token;
}

function canOpen(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    // absent, or not ours: both mean that the socket is no way in
    return false;
  }
}

function targetOf(server: string | undefined, socket: string): Target {
  if (server === undefined)
    return canOpen(socket) ? { kind: 'socket', path: socket } : { kind: 'https', url: new URL('https://localhost:8443') };
  if (server.startsWith('unix:')) return { kind: 'socket', path: server.slice(5) };
  const url = URL.parse(server.includes('://') ? server : `https://${server}`);
  if (url === null) throw new CodedError('USAGE', `"${server}" is no server address`, { hint: 'such as https://vigo.example.com:8443' });
  if (url.protocol !== 'https:') throw new CodedError('USAGE', 'the server is reached over https only');
  return { kind: 'https', url };
}

/** @throws CodedError USAGE, KEY_FILE_PERMISSIONS */
export function connectionOf(flags: ConnectionFlags, env: Env): Connection {
  const paths = cliPaths(env);
  const block = readBlock(paths.settings, flags.profile);
  const dataDir = flags.dataDir ?? env['VIGO_DATA_DIR'] ?? '/srv/vigo';
  const server = flags.server ?? env['VIGO_SERVER'] ?? block.server;
  const socket = join(dataDir, 'run', 'admin.sock');
  const target = targetOf(server, socket);
  const tokenFile = flags.tokenFile ?? env['VIGO_TOKEN_FILE'] ?? block.token_file ?? paths.token;
  const named = flags.caFile ?? env['VIGO_CA_FILE'] ?? block.ca_file;
  const ca = named === undefined ? (readOptional(paths.ca) ?? readReadable(join(dataDir, 'tls', 'ca-bundle.pem'))) : readOptional(named);
  if (named !== undefined && ca === undefined) throw new CodedError('USAGE', `the CA file ${named} does not exist`);
  return {
    target,
    ca,
    token: target.kind === 'socket' ? undefined : readTokenFile(tokenFile),
    tokenFile,
    missedSocket: server === undefined && target.kind === 'https' ? socket : undefined,
    timeoutMs: flags.timeout ?? 60_000,
  };
}

/** The server's own files may belong to another user: then the system store is next. */
function readReadable(path: string): string | undefined {
  return canRead(path) ? readOptional(path) : undefined;
}

function canRead(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    // absent or not readable: the next source is tried
    return false;
  }
}
