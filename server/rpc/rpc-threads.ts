/** Starts and stops the accepting threads, hands them releases, and takes what they pass on. */
import { Worker } from 'node:worker_threads';
import { CodedError } from '../../core/base/errors.ts';
import type { SignedRecord } from '../../core/crypto/delegation.ts';
import type { FleetIndex } from '../fleet/fleet-index.ts';
import { toFault } from './fault.ts';
import type { Forwarded, FromStream, FromWorker, ToWorker, WorkerSetup } from './messages.ts';
import type { ReleaseTable } from './release-table.ts';
import { type AcceptedStream, ThreadStream } from './thread-stream.ts';

type Notice = Exclude<FromWorker, { kind: 'listening' | 'failed' | 'taken' | 'stopped' | 'call' | 'owner' } | FromStream>;

export interface RpcHandlers {
  call(call: Forwarded): Promise<Uint8Array>;
  /** JSON of the signed grant that leads to the owner, empty when it is not known */
  owner(envoyId: string, wrongAudience: boolean): Promise<Uint8Array>;
  /** @param thread index of the accepting thread that speaks */
  notice(notice: Notice, thread: number): void;
  /** a thread died: the process cannot go on honestly */
  crashed(error: Error): void;
}

interface Thread {
  readonly worker: Worker;
  readonly taken: Map<number, () => void>;
  readonly streams: Map<number, ThreadStream>;
}

export class RpcThreads {
  readonly #threads: Thread[] = [];
  readonly #fleet: FleetIndex;
  readonly #handlers: RpcHandlers;
  #nextId = 1;
  #stopping = false;
  #onStream: ((stream: AcceptedStream) => void) | undefined;

  constructor(fleet: FleetIndex, handlers: RpcHandlers) {
    this.#fleet = fleet;
    this.#handlers = handlers;
  }

  /** The port all threads listen on. @throws CodedError LISTEN_FAILED */
  async start(setup: WorkerSetup, threads: number): Promise<number> {
    let port = setup.port;
    for (let i = 0; i < threads; i++) port = await this.#startThread(setup, port);
    return port;
  }

  #startThread(setup: WorkerSetup, port: number): Promise<number> {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: setup });
    const thread: Thread = { worker, taken: new Map(), streams: new Map() };
    const index = this.#threads.push(thread) - 1;
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromWorker) => {
        if (message.kind === 'listening') resolve(message.port);
        else if (message.kind === 'failed')
          reject(
            new CodedError('LISTEN_FAILED', `cannot listen on port ${port}: ${message.message}`, {
              hint: 'another program holds the port, or server.grpc_listen is wrong',
            }),
          );
        else if (message.kind === 'taken') thread.taken.get(message.id)?.();
        else if (message.kind === 'call') void this.#answer(worker, message.id, () => this.#handlers.call(message));
        else if (message.kind === 'owner')
          void this.#answer(worker, message.id, () => this.#handlers.owner(message.envoyId, message.wrongAudience));
        else if (message.kind === 'streamOpen') this.#open(thread, message);
        else if (message.kind === 'streamFrame') thread.streams.get(message.id)?.received(message.frame);
        else if (message.kind === 'streamSent') thread.streams.get(message.id)?.sent(message.bytes);
        else if (message.kind === 'streamClosed') this.#closed(thread, message.id, message.reason);
        else if (message.kind !== 'stopped') this.#handlers.notice(message, index);
      });
      worker.once('error', (error: unknown) => {
        const failure = error instanceof Error ? error : new Error(String(error));
        reject(failure);
        if (!this.#stopping) this.#handlers.crashed(failure);
      });
      worker.postMessage({ kind: 'listen', port } satisfies ToWorker);
    });
  }

  #open({ worker, streams }: Thread, message: Extract<FromStream, { kind: 'streamOpen' }>): void {
    const stream = new ThreadStream(message, (reply) => worker.postMessage(reply));
    if (this.#onStream === undefined || this.#stopping) {
      stream.close(
        new CodedError('UNIMPLEMENTED', 'this server is no hub', { hint: 'spanner.hub_addr names another server than the hub' }),
      );
      return;
    }
    streams.set(message.id, stream);
    this.#onStream(stream);
  }

  #closed({ streams }: Thread, id: number, reason: string): void {
    const stream = streams.get(id);
    streams.delete(id);
    stream?.ended(reason);
  }

  /** Takes the streams that servers open from now on; whoever takes them must hear a signed hello before anything else. */
  onStream(listener: ((stream: AcceptedStream) => void) | undefined): void {
    this.#onStream = listener;
  }

  async #answer(worker: Worker, id: number, work: () => Promise<Uint8Array>): Promise<void> {
    let answer: ToWorker;
    try {
      answer = { kind: 'answer', id, reply: await work() };
    } catch (thrown) {
      answer = { kind: 'answer', id, error: toFault(thrown) };
    }
    worker.postMessage(answer);
  }

  #tell(message: ToWorker): void {
    for (const { worker } of this.#threads) worker.postMessage(message);
  }

  /** Every thread holds the table before the generation moves: whoever begins after this is answered from it. */
  async publish(table: ReleaseTable): Promise<void> {
    const id = this.#nextId++;
    await Promise.all(
      this.#threads.map(({ worker, taken }) => {
        const done = new Promise<void>((resolve) => taken.set(id, resolve));
        worker.postMessage({ kind: 'release', id, table } satisfies ToWorker);
        return done.then(() => taken.delete(id));
      }),
    );
    this.#fleet.switchTo(table.generation);
  }

  useContext(certificateChain: string, privateKey: string, ticketKeys: Uint8Array | undefined): void {
    this.#tell({ kind: 'context', certificateChain, privateKey, ticketKeys });
  }

  useDelegation(delegation: SignedRecord): void {
    this.#tell({ kind: 'delegation', delegation });
  }

  drop(envoyId: string): void {
    this.#tell({ kind: 'drop', envoyId });
  }

  /** Finishes what runs, then ends the threads. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const ended = this.#threads.map(({ worker }) => new Promise<void>((resolve) => worker.once('exit', () => resolve())));
    this.#tell({ kind: 'stop' });
    const timer = setTimeout(() => this.#threads.forEach(({ worker }) => void worker.terminate()), 8_000);
    await Promise.all(ended);
    clearTimeout(timer);
    this.#threads.length = 0;
  }
}
