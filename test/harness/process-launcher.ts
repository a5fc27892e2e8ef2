/** Starts the real programs as processes from their sources, keeps what they print, and stops exactly what it started. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
export type Program = 'vigosrv' | 'vigo' | 'vigocli';

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly pid: number;
  stdout(): string;
  stderr(): string;
  /** resolves when the text was printed on either stream */
  printed(text: string | RegExp, timeoutMs?: number): Promise<void>;
  readonly finished: Promise<Finished>;
  /** SIGTERM, then SIGKILL after the time; answers how it ended */
  stop(timeoutMs?: number): Promise<Finished>;
  kill(signal: NodeJS.Signals): void;
}

const running = new Set<ChildProcess>();
// a test that fails between start and stop leaves nothing behind
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** `env` is all that the program gets beside PATH: tests do not depend on the developer's shell. */
export function startProgram(
  program: Program,
  args: readonly string[],
  options: { env?: Record<string, string>; stdin?: string } = {},
): Running {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(root, 'bin', `${program}.ts`), ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '', ...options.env },
  });
  running.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  // a program that ends without reading its input closes the pipe
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.stdin ?? '');
  const finished = once(child, 'close').then(([code]): Finished => {
    running.delete(child);
    return { code: code as number | null, stdout, stderr };
  });
  return {
    pid: child.pid ?? 0,
    stdout: () => stdout,
    stderr: () => stderr,
    async printed(text, timeoutMs = 15_000) {
      const found = () => (typeof text === 'string' ? (stdout + stderr).includes(text) : text.test(stdout + stderr));
      // one that has ended prints nothing more
      let ended = false;
      await eventually(
        () => {
          if (found()) return;
          ended = child.exitCode !== null || child.signalCode !== null;
          if (!ended) throw new Error(`${program} did not print ${String(text)}:\n${stdout}${stderr}`);
        },
        { timeoutMs },
      );
      if (!ended) return;
      await finished;
      if (!found()) throw new Error(`${program} ended with ${child.exitCode} and did not print ${String(text)}:\n${stdout}${stderr}`);
    },
    finished,
    async stop(timeoutMs = 15_000) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
      const result = await finished;
      clearTimeout(timer);
      return result;
    },
    kill: (signal) => void child.kill(signal),
  };
}

/** Runs to the end. */
export function runProgram(
  program: Program,
  args: readonly string[],
  options: { env?: Record<string, string>; stdin?: string } = {},
): Promise<Finished> {
  return startProgram(program, args, options).finished;
}
