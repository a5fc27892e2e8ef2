/** A stream of frames with limits both ways: who sends waits while a MiB is on its way, what nobody takes yet is held back at its source. */
import type { CodedError } from '../../core/base/errors.ts';

export interface FrameChannel {
  /** where the other end is, for people */
  readonly address: string;
  /** resolves when there is room for more; frames of a closed channel are dropped */
  send(frame: Uint8Array): Promise<void>;
  /** the one who takes the frames from now on, those kept meanwhile first; with undefined they are kept again */
  onFrame(listener: ((frame: Uint8Array) => void) | undefined): void;
  /** also when it is closed already */
  onClose(listener: (reason: string) => void): void;
  close(error?: CodedError): void;
}

const MOST_SENDING = 1024 * 1024;

export interface FlowEnd {
  write(frame: Uint8Array): void;
  /** so many bytes were taken: that many more may come */
  taken(bytes: number): void;
  close(error: CodedError | undefined): void;
}

export abstract class FlowChannel implements FrameChannel {
  abstract readonly address: string;
  readonly #end: FlowEnd;
  #sending = 0;
  #room: (() => void)[] = [];
  #take: ((frame: Uint8Array) => void) | undefined;
  #kept: Uint8Array[] = [];
  #listeners: ((reason: string) => void)[] = [];
  #closed: string | undefined;

  constructor(end: FlowEnd) {
    this.#end = end;
  }

  send(frame: Uint8Array): Promise<void> {
    if (this.#closed !== undefined) return Promise.resolve();
    this.#sending += frame.length;
    this.#end.write(frame);
    if (this.#sending <= MOST_SENDING) return Promise.resolve();
    return new Promise((resolve) => this.#room.push(resolve));
  }

  /** bytes went out */
  sent(bytes: number): void {
    this.#sending -= bytes;
    if (this.#sending > MOST_SENDING / 2) return;
    for (const go of this.#room.splice(0)) go();
  }

  received(frame: Uint8Array): void {
    if (this.#closed !== undefined) return;
    if (this.#take === undefined) this.#kept.push(frame);
    else {
      this.#take(frame);
      this.#end.taken(frame.length);
    }
  }

  onFrame(listener: ((frame: Uint8Array) => void) | undefined): void {
    this.#take = listener;
    if (listener !== undefined) for (const frame of this.#kept.splice(0)) this.received(frame);
  }

  onClose(listener: (reason: string) => void): void {
    if (this.#closed === undefined) this.#listeners.push(listener);
    else listener(this.#closed);
  }

  /** the other end is gone */
  ended(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    for (const go of this.#room.splice(0)) go();
    for (const listener of this.#listeners.splice(0)) listener(reason);
  }

  close(error?: CodedError): void {
    if (this.#closed !== undefined) return;
    this.#end.close(error);
    this.ended(error?.message ?? 'closed');
  }
}
