/** Starts processes: argv only, a fixed PATH, one process group each, TERM and then KILL when the time is over. */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';
import type { CommandResult, RunOptions } from './system.ts';

export type Argv = readonly [string, ...string[]];

export const FIXED_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const KILL_AFTER_MS = 10_000;
const DEFAULT_TIMEOUT_MS = 300_000;
/** Captured per stream; what comes after is counted but not kept. */
const MAX_CAPTURE_BYTES = 4 * 1024 * 1024;
/** A daemon may hold the pipes open after the command itself has ended. */
const PIPE_GRACE_MS = 250;

/** The file of a command on the fixed PATH, or undefined. */
export async function findCommand(name: string): Promise<string | undefined> {
  const places = isAbsolute(name) ? [name] : name.includes('/') ? [] : FIXED_PATH.split(':').map((folder) => join(folder, name));
  for (const place of places) {
    try {
      await access(place, constants.X_OK);
      return place;
    } catch {
      // not here: look in the next folder
    }
  }
  return undefined;
}

class Capture {
  readonly #chunks: Buffer[] = [];
  #size = 0;

  add(chunk: Buffer): void {
    const room = MAX_CAPTURE_BYTES - this.#size;
    if (room > 0) this.#chunks.push(chunk.length > room ? chunk.subarray(0, room) : chunk);
    this.#size += chunk.length;
  }

  text(): string {
    const text = Buffer.concat(this.#chunks).toString('utf8');
    return this.#size > MAX_CAPTURE_BYTES ? `${text}\n[${this.#size - MAX_CAPTURE_BYTES} bytes more]` : text;
  }
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // the group is already gone
  }
}

async function open(argv: Argv, options: RunOptions, env: Record<string, string>, stdio: 'pipe' | 'ignore'): Promise<ChildProcess> {
  const file = await findCommand(argv[0]);
  if (file === undefined) throw new CodedError('COMMAND_FAILED', `command not found: ${argv[0]}`, { details: { exitCode: 127 } });
  const child = spawn(file, argv.slice(1), {
    argv0: argv[0],
    cwd: options.cwd ?? '/',
    env,
    detached: true,
    stdio: [options.stdin === undefined ? 'ignore' : 'pipe', stdio, stdio],
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error) => {
      // a missing working directory is reported by spawn as if the program were missing
      const place = options.cwd === undefined ? '' : ` in ${options.cwd}`;
      reject(new CodedError('COMMAND_FAILED', `cannot start ${argv[0]}${place}: ${error.message}`, { cause: error }));
    });
  });
  child.on('error', () => undefined); // a failed kill is reported here; the exit event tells the outcome
  child.stdin?.on('error', () => undefined); // a command may end without reading its input
  child.stdin?.end(options.stdin);
  return child;
}

/** Waits for the end. @throws CodedError DEADLINE */
export async function runCommand(argv: Argv, options: RunOptions, env: Record<string, string>): Promise<CommandResult> {
  options.signal?.throwIfAborted();
  const child = await open(argv, options, env, 'pipe');
  const stdout = new Capture();
  const stderr = new Capture();
  child.stdout?.on('data', (chunk: Buffer) => stdout.add(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.add(chunk));
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  let stopped: string | undefined;
  let kill: NodeJS.Timeout | undefined;
  const stop = (why: string) => {
    stopped ??= why;
    killGroup(child, 'SIGTERM');
    kill ??= setTimeout(() => killGroup(child, 'SIGKILL'), KILL_AFTER_MS);
  };
  const timer = setTimeout(() => stop(`took longer than ${timeoutMs} ms`), Math.min(timeoutMs, 2 ** 31 - 1));
  const onAbort = () => stop('was stopped');
  options.signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const code = await ended(child);
    if (stopped !== undefined) {
      killGroup(child, 'SIGKILL'); // whatever ignored TERM in the group
      throw new CodedError('DEADLINE', `${argv[0]} ${stopped}`);
    }
    return { code, stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    clearTimeout(timer);
    clearTimeout(kill);
    options.signal?.removeEventListener('abort', onAbort);
    child.stdout?.destroy();
    child.stderr?.destroy();
  }
}

/** The exit code; 128 + number for a signal, as shells count. */
function ended(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    let grace: NodeJS.Timeout | undefined;
    let result = 0;
    child.once('exit', (code, signal) => {
      result = code ?? 128 + (signal === null ? 0 : (SIGNAL_NUMBERS[signal] ?? 0));
      grace = setTimeout(() => resolve(result), PIPE_GRACE_MS);
    });
    child.once('close', () => {
      clearTimeout(grace);
      resolve(result);
    });
  });
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** Starts and leaves. */
export async function startCommand(argv: Argv, options: RunOptions, env: Record<string, string>): Promise<void> {
  const child = await open(argv, options, env, 'ignore');
  child.unref();
}
