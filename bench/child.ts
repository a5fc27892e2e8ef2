/** Child processes of the benchmarks: asked over IPC, answering figures of their own. */
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Usage {
  /** CPU seconds of the whole process since its start */
  readonly cpuSeconds: number;
  readonly rssBytes: number;
  /** of it not shared with files */
  readonly anonBytes: number;
}

export function usageNow(): Usage {
  const { user, system } = process.cpuUsage();
  const status = readFileSync('/proc/self/status', 'utf8');
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
  return { cpuSeconds: (user + system) / 1e6, rssBytes: kilobytes('VmRSS') * 1024, anonBytes: kilobytes('RssAnon') * 1024 };
}

export class Child {
  readonly #process: ChildProcess;
  readonly #waiting: { resolve(message: unknown): void; reject(error: Error): void }[] = [];
  /** said before anybody asked */
  readonly #early: unknown[] = [];

  constructor(file: string, args: readonly string[], execArgv: readonly string[] = []) {
    this.#process = fork(new URL(file, import.meta.url), [...args], {
      execArgv: [...execArgv],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#process.on('message', (message) => {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#early.push(message);
      else waiting.resolve(message);
    });
    this.#process.once('exit', (code) => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`${file} ended with code ${code}`));
    });
  }

  next<T>(): Promise<T> {
    if (this.#early.length > 0) return Promise.resolve(this.#early.shift() as T);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve: (message) => resolve(message as T), reject });
    });
  }

  ask<T>(question: unknown): Promise<T> {
    const answer = this.next<T>();
    this.#process.send(question as never);
    return answer;
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const ended = new Promise<void>((resolve) => this.#process.once('exit', () => resolve()));
    this.#process.kill('SIGTERM');
    await ended;
  }
}

/** For a child: answers each question with what `answer` gives. */
export function serve(answer: (question: unknown) => unknown): void {
  process.on('message', (question) => {
    void Promise.resolve(answer(question)).then((reply) => process.send?.(reply));
  });
}
