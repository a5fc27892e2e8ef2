/** The only door to the machine: executors, collectors and platform backends reach the host through this interface alone. */
import type { OsFamily } from '../../core/resources/define.ts';

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string;
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** run as this user (needs root) */
  readonly user?: string;
  readonly nice?: number;
  /** exit codes that are no error; default [0]; 'any' = never throws for a code */
  readonly okCodes?: readonly number[] | 'any';
  readonly signal?: AbortSignal;
}

export interface FileStat {
  readonly kind: 'file' | 'directory' | 'symlink' | 'other';
  /** permission bits, e.g. 0o644 */
  readonly mode: number;
  /** user name, or the number as text when it has none */
  readonly owner: string;
  readonly group: string;
  readonly size: number;
  /** milliseconds since 1970 */
  readonly modifiedAt: number;
  /** the same for two names of one file: device and inode */
  readonly identity: string;
}

/** An absent member leaves what an existing file has; a new one gets 0644 (directories 0755) and the agent's own account. */
export interface WriteAttributes {
  readonly mode?: number;
  readonly owner?: string;
  readonly group?: string;
}

export interface FileSystem {
  /** does not follow a final symlink; undefined = nothing there */
  stat(path: string): Promise<FileStat | undefined>;
  /** follows links; undefined = nothing there */
  readFile(path: string): Promise<Buffer | undefined>;
  /** temp file in the same directory, mode and owner set, fsync, rename */
  writeFile(path: string, data: Buffer | string, attributes: WriteAttributes): Promise<void>;
  setAttributes(path: string, attributes: WriteAttributes): Promise<void>;
  makeDirectory(path: string, attributes: WriteAttributes): Promise<void>;
  readLink(path: string): Promise<string | undefined>;
  makeLink(path: string, to: string, kind: 'symbolic' | 'hard'): Promise<void>;
  list(path: string): Promise<readonly string[]>;
  /** a file, a link, or a directory with all below it */
  remove(path: string): Promise<void>;
  /** all links resolved, as far as the path exists; the rest is appended */
  realPath(path: string): Promise<string>;
  /** bytes of the file system that holds the path; `free` = what is left for ordinary users */
  space(path: string): Promise<{ readonly free: number; readonly used: number; readonly total: number }>;
}

export interface System extends FileSystem {
  readonly family: OsFamily;
  /** no shell; argv[0] is looked up on a fixed PATH. @throws CodedError COMMAND_FAILED on an unlisted exit code, DEADLINE on timeout */
  run(argv: readonly [string, ...string[]], options?: RunOptions): Promise<CommandResult>;
  /** starts a command and leaves it; nothing is captured */
  start(argv: readonly [string, ...string[]], options?: RunOptions): Promise<void>;
  hasCommand(name: string): Promise<boolean>;
  /** a folder for short-lived secrets that only root can list or write, in memory where the platform has such a file system */
  privateFolder(): Promise<string>;
  /** milliseconds since 1970 */
  now(): number;
}
