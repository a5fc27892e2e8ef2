/** Streams of other servers in an accepting thread: held to a server's certificate here, everything else is the main thread's; at most a MiB of a stream waits for it. */
import type { handleBidiStreamingCall, ServerDuplexStream } from '@grpc/grpc-js';
import { CodedError } from '../../core/base/errors.ts';
import { fromFault, toServiceError } from './fault.ts';
import type { FromStream, ToStream } from './messages.ts';
import { peerServer } from './peer-identity.ts';

/** Bytes that may wait for the main thread; above, reading pauses. */
const MOST_WAITING = 1024 * 1024;
const MAX_FRAME = 512 * 1024;
/** A server needs one; a second while the first one dies. */
const PER_CONNECTION = 2;
const IN_ALL = 256;

interface OpenStream {
  readonly call: ServerDuplexStream<Buffer, Buffer>;
  readonly address: string;
  waiting: number;
}

export class LinkStreams {
  readonly #parts: { say(message: FromStream): void; readonly fleetId: string; now(): number; mayOpen(): boolean };
  readonly #open = new Map<number, OpenStream>();
  #nextId = 1;

  constructor(parts: { say(message: FromStream): void; readonly fleetId: string; now(): number; mayOpen(): boolean }) {
    this.#parts = parts;
  }

  /** whether the connection carries a stream of a server */
  holds(address: string): boolean {
    for (const stream of this.#open.values()) if (stream.address === address) return true;
    return false;
  }

  readonly accept: handleBidiStreamingCall<Buffer, Buffer> = (call) => {
    const address = call.getPeer();
    const certificate = call.getAuthContext()?.sslPeerCertificate;
    let serverId: string;
    try {
      serverId = peerServer(certificate, this.#parts.fleetId);
      if (!this.#parts.mayOpen()) throw new CodedError('SHUTTING_DOWN', 'this server is stopping', { retryAfterSeconds: 5 });
      const same = [...this.#open.values()].filter((stream) => stream.address === address).length;
      if (same >= PER_CONNECTION || this.#open.size >= IN_ALL)
        throw new CodedError('OVERLOADED', 'too many links', { retryAfterSeconds: 5 });
    } catch (thrown) {
      call.emit('error', toServiceError(thrown, this.#parts.now()));
      return;
    }
    const id = this.#nextId++;
    const stream: OpenStream = { call, address, waiting: 0 };
    this.#open.set(id, stream);
    const closed = (reason: string) => {
      if (!this.#open.delete(id)) return;
      this.#parts.say({ kind: 'streamClosed', id, reason });
    };
    call.on('data', (frame: Buffer) => {
      if (frame.length > MAX_FRAME) {
        this.#end(stream, new CodedError('TOO_LARGE', 'the frame is above the limit'));
        closed('a frame above the limit');
        return;
      }
      stream.waiting += frame.length;
      this.#parts.say({ kind: 'streamFrame', id, frame });
      if (stream.waiting > MOST_WAITING) call.pause();
    });
    call.on('end', () => {
      call.end();
      closed('the other end closed it');
    });
    call.on('cancelled', () => closed('the connection broke'));
    call.on('error', (error) => closed(error.message));
    call.on('close', () => closed('closed'));
    this.#parts.say({ kind: 'streamOpen', id, serverId, certificate: certificate?.fingerprint256 ?? '', address });
  };

  take(message: ToStream): void {
    const stream = this.#open.get(message.id);
    if (stream === undefined) return;
    if (message.kind === 'streamFrame') {
      const { id } = message;
      const bytes = message.frame.length;
      stream.call.write(Buffer.from(message.frame.buffer, message.frame.byteOffset, bytes), () =>
        this.#parts.say({ kind: 'streamSent', id, bytes }),
      );
    } else if (message.kind === 'streamTaken') {
      stream.waiting -= message.bytes;
      if (stream.waiting <= MOST_WAITING / 2 && stream.call.isPaused()) stream.call.resume();
    } else {
      this.#open.delete(message.id);
      this.#end(stream, message.error === undefined ? undefined : fromFault(message.error));
      this.#parts.say({ kind: 'streamClosed', id: message.id, reason: 'closed here' });
    }
  }

  #end({ call }: OpenStream, error: CodedError | undefined): void {
    if (error === undefined) call.end();
    else call.emit('error', toServiceError(error, this.#parts.now()));
  }

  closeAll(): void {
    for (const [id, stream] of [...this.#open]) {
      this.#open.delete(id);
      this.#end(stream, new CodedError('SHUTTING_DOWN', 'this server is stopping', { retryAfterSeconds: 5 }));
      this.#parts.say({ kind: 'streamClosed', id, reason: 'this server is stopping' });
    }
  }
}
