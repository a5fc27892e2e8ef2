/** The main thread's side of the publishing thread: started when first needed, restarted after a crash. */
import { Worker } from 'node:worker_threads';
import { CodedError, isErrorCode } from '../../core/base/errors.ts';
import type { OperationName, Operations, Request, Response } from './messages.ts';

interface Waiting {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
}

/** Whole validation (config.md §21); no tree may hold the thread longer. */
const DEADLINE_MS = 5 * 60_000;

export class ConfigThread {
  #worker: Worker | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  readonly #deadlineMs: number;

  constructor(deadlineMs: number = DEADLINE_MS) {
    this.#deadlineMs = deadlineMs;
  }

  ask<N extends OperationName>(name: N, ask: Operations[N]['ask']): Promise<Operations[N]['answer']> {
    const id = this.#nextId++;
    const worker = this.#started();
    const deadline = setTimeout(() => {
      this.#broken(worker, new CodedError('VALIDATION_FAILED', `"${name}" took longer than ${this.#deadlineMs / 1_000} s and was ended`));
      void worker.terminate();
    }, this.#deadlineMs);
    deadline.unref();
    return new Promise<Operations[N]['answer']>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      const request: Request = { id, name, ask };
      worker.postMessage(request);
    }).finally(() => clearTimeout(deadline));
  }

  #started(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL('./config-worker.ts', import.meta.url), { resourceLimits: { stackSizeMb: 16 } });
    worker.unref();
    worker.on('message', (response: Response) => this.#answered(response));
    worker.on('error', (thrown) => this.#broken(worker, thrown instanceof Error ? thrown : new CodedError('INTERNAL', String(thrown))));
    worker.on('exit', () => this.#broken(worker, new CodedError('INTERNAL', 'the publishing thread ended')));
    this.#worker = worker;
    return worker;
  }

  #answered(response: Response): void {
    const waiting = this.#waiting.get(response.id);
    this.#waiting.delete(response.id);
    if (waiting === undefined) return;
    if ('answer' in response) waiting.resolve(response.answer as never);
    else waiting.reject(failure(response.failure));
  }

  #broken(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  async stop(): Promise<void> {
    const worker = this.#worker;
    await worker?.terminate();
  }
}

function failure({ code, message, errno }: { code: string | undefined; message: string; errno: string | undefined }): Error {
  if (code !== undefined && isErrorCode(code)) return new CodedError(code, message);
  return diskError(Object.assign(new Error(message), { code: errno }));
}

/** A full disk is an expected misfortune with a code of its own. */
export function diskError(thrown: unknown): Error {
  if (thrown instanceof CodedError) return thrown;
  const code = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new CodedError('STORE_FULL', 'the disk of the data directory is full', {
      cause: thrown,
      hint: 'nothing was published; make room and publish again',
    });
  return thrown instanceof Error ? thrown : new CodedError('INTERNAL', String(thrown));
}
