/** The main thread's end of a stream that another server opened at an accepting thread. */
import type { CodedError } from '../../core/base/errors.ts';
import { FlowChannel, type FrameChannel } from '../spanner/channel.ts';
import { toFault } from './fault.ts';
import type { FromStream, ToStream } from './messages.ts';

/** A stream with what TLS says of its other end; who it is, its hello must prove. */
export interface AcceptedStream extends FrameChannel {
  readonly serverId: string;
  /** SHA-256 of the peer's certificate */
  readonly certificate: string;
}

export class ThreadStream extends FlowChannel implements AcceptedStream {
  readonly serverId: string;
  readonly certificate: string;
  readonly address: string;

  constructor(opened: Extract<FromStream, { kind: 'streamOpen' }>, say: (message: ToStream) => void) {
    const { id } = opened;
    super({
      write: (frame) => say({ kind: 'streamFrame', id, frame }),
      taken: (bytes) => say({ kind: 'streamTaken', id, bytes }),
      close: (error: CodedError | undefined) => say({ kind: 'streamClose', id, error: error === undefined ? undefined : toFault(error) }),
    });
    this.serverId = opened.serverId;
    this.certificate = opened.certificate;
    this.address = opened.address;
  }
}
