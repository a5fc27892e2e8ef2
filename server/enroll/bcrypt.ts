/** A queue in front of the bcrypt worker. */
import { Worker } from 'node:worker_threads';
import { CodedError } from '../../core/base/errors.ts';
import type { BcryptJob } from './bcrypt-worker.ts';

const MAX_WAITING = 1_000;

export class Bcrypt {
  #worker: Worker | undefined;
  readonly #waiting = new Map<number, (result: boolean | string) => void>();
  #nextId = 1;

  async hash(secret: string, cost: number): Promise<string> {
    return String(await this.#run((id) => ({ id, secret, cost })));
  }

  async matches(secret: string, hash: string): Promise<boolean> {
    return (await this.#run((id) => ({ id, secret, hash }))) === true;
  }

  #run(job: (id: number) => BcryptJob): Promise<boolean | string> {
    if (this.#waiting.size >= MAX_WAITING) throw new CodedError('OVERLOADED', 'too many enrolments wait', { retryAfterSeconds: 30 });
    const id = this.#nextId++;
    const worker = this.#started();
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      worker.postMessage(job(id));
    });
  }

  #started(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL('./bcrypt-worker.ts', import.meta.url));
    worker.on('message', ({ id, result }: { id: number; result: boolean | string }) => {
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
    worker.unref();
    this.#worker = worker;
    return worker;
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate();
    this.#worker = undefined;
  }
}
