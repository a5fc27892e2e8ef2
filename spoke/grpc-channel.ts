/** A stream to the hub: gRPC over mutual TLS with the server's own certificate, the hub held to the fleet's root. */
import { createSecureContext } from 'node:tls';
import { Client, type ClientDuplexStream, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { CodedError, isErrorCode } from '../core/base/errors.ts';
import { clientOptions, type TlsIdentity } from '../core/crypto/tls.ts';
import { codecs, ERROR_TRAILER, LINK_METHOD } from '../proto/load.ts';
import { FlowChannel } from '../server/spanner/channel.ts';

const raw = (bytes: Buffer): Buffer => bytes;
/** Bytes that may wait to be taken; above, reading pauses. */
const MOST_WAITING = 1024 * 1024;

/** The code that rides in the trailer, else what the transport says. */
function reasonOf(error: ServiceError, server: string): CodedError {
  const trailer = error.metadata?.get(ERROR_TRAILER)[0];
  if (!(trailer instanceof Buffer)) return new CodedError('UNREACHABLE', `no link to ${server}: ${error.details}`, { cause: error });
  const detail = codecs.errorDetail.decode(trailer);
  return new CodedError(isErrorCode(detail.code) ? detail.code : 'INTERNAL', detail.message, {
    hint: detail.hint === '' ? undefined : detail.hint,
    retryAfterSeconds: detail.retry_after_s === 0 ? undefined : detail.retry_after_s,
  });
}

export class GrpcChannel extends FlowChannel {
  readonly address: string;
  readonly #call: ClientDuplexStream<Buffer, Buffer>;
  readonly #client: Client;
  /** why it ended, when the server said so */
  failure: CodedError | undefined;

  constructor(address: string, rootCa: string, identity: TlsIdentity) {
    const client = new Client(address, credentials.createFromSecureContext(createSecureContext(clientOptions(rootCa, identity))), {
      'grpc.max_receive_message_length': 4 * 1024 * 1024,
      'grpc.enable_retries': 0,
      // one connection of its own, so that a dead one is not handed to the next link
      'grpc.use_local_subchannel_pool': 1,
    });
    const call = client.makeBidiStreamRequest(LINK_METHOD, raw, raw, new Metadata());
    let waiting = 0;
    super({
      write: (frame) => {
        call.write(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength), () => this.sent(frame.byteLength));
      },
      taken: (bytes) => {
        waiting -= bytes;
        if (waiting <= MOST_WAITING / 2 && call.isPaused()) call.resume();
      },
      close: () => {
        call.cancel();
        client.close();
      },
    });
    this.address = address;
    this.#call = call;
    this.#client = client;
    call.on('data', (frame: Buffer) => {
      waiting += frame.length;
      this.received(frame);
      if (waiting > MOST_WAITING) call.pause();
    });
    call.on('error', (error: ServiceError) => {
      this.failure = reasonOf(error, address);
      this.#gone(this.failure.message);
    });
    call.on('end', () => this.#gone('the hub closed it'));
    call.on('close', () => this.#gone('closed'));
  }

  /** SHA-256 of the certificate that the hub shows; empty before the connection is up */
  get hubCertificate(): string {
    return this.#call.getAuthContext()?.sslPeerCertificate?.fingerprint256 ?? '';
  }

  #gone(reason: string): void {
    this.ended(reason);
    this.#client.close();
  }
}
