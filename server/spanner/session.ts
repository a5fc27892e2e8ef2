/** An open link over any channel of frames: requests and answers both ways at once, heartbeats, and its end when the other side falls silent. */
import type { z } from 'zod';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import { isPlainObject, type JsonObject } from '../../core/base/json.ts';
import type { Logger } from '../../core/base/log.ts';
import { codecs } from '../../proto/load.ts';
import type { LinkFrame } from '../../proto/messages.ts';
import { fromFault } from '../rpc/fault.ts';
import type { WireFault } from '../rpc/messages.ts';
import type { FrameChannel } from './channel.ts';
import { Assembly, framesOf, jsonOf, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, type Message, singleFrame, sizeOf, toMessage } from './frames.ts';
import type { Answer, Kind, LinkSession, Reply, RequestOptions } from './link.ts';
import { Serving } from './serving.ts';

const DEADLINE_MS = 30_000;
/** Silent intervals after which the other end counts as lost. */
const SILENT = 3;
/** Requests that wait for an answer, each way. */
const MOST_OPEN = 1024;
/** Bytes of all answers that are coming in. */
const MOST_ANSWERING = 2 * MAX_ANSWER_BYTES;
/** Messages that wait to be sent: who asks and asks and never reads the answers would fill this process. */
const MOST_UNSENT = 2 * MOST_OPEN;

export interface SessionParts {
  readonly channel: FrameChannel;
  /** the site at the other end */
  readonly siteId: string;
  readonly answers: readonly Answer[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly heartbeatMs: number;
  /** what to say at each heartbeat */
  heartbeat?(): JsonObject;
  /** what the other end said at its */
  onHeartbeat?(body: JsonObject): void;
}

interface Waiting {
  readonly assembly: Assembly;
  error: boolean;
  done(message: Message): void;
  fail(error: CodedError): void;
}

export class Session implements LinkSession {
  readonly siteId: string;
  readonly traffic = { sent: 0, received: 0 };
  readonly #parts: SessionParts;
  readonly #waiting = new Map<number, Waiting>();
  readonly #serving: Serving;
  readonly #listeners: ((reason: string) => void)[] = [];
  readonly #timer: NodeJS.Timeout;
  #turn: Promise<void> = Promise.resolve();
  #nextId = 1;
  #unsent = 0;
  /** bytes of answers that are coming in */
  #answering = 0;
  /** the last answer to a heartbeat is on its way still */
  #ponging = false;
  #closed: string | undefined;
  #lastHeard: number;
  /** when something came that is no question of the other end: it shows that our words arrive */
  #lastProof: number;
  #lastBeat: number;
  rttMs: number | undefined;
  /** clock of the other end minus ours, milliseconds */
  clockOffsetMs: number | undefined;

  constructor(parts: SessionParts) {
    const { channel, clock, heartbeatMs } = parts;
    this.#parts = parts;
    this.siteId = parts.siteId;
    this.#lastHeard = clock.monotonic();
    this.#lastProof = this.#lastHeard;
    this.#lastBeat = this.#lastHeard;
    this.#serving = new Serving(parts.answers, {
      from: parts.siteId,
      send: (head, message) => this.#send(head, message),
      unexpected: (kind, thrown) => parts.log.error('a request of a link failed', { kind, site: parts.siteId, error: thrown }),
    });
    this.#timer = setInterval(() => this.#beat(), heartbeatMs);
    this.#timer.unref();
    channel.onClose((reason) => this.#end(reason));
    channel.onFrame((frame) => this.#received(frame));
    this.#ping();
  }

  get isOpen(): boolean {
    return this.#closed === undefined;
  }

  async request<Q extends z.ZodType, R extends z.ZodType>(
    of: Kind<Q, R>,
    body: z.input<Q>,
    options?: RequestOptions,
  ): Promise<z.output<R>> {
    return (await this.requestData(of, body, options)).body;
  }

  async requestData<Q extends z.ZodType, R extends z.ZodType>(
    of: Kind<Q, R>,
    body: z.input<Q>,
    options: RequestOptions = {},
  ): Promise<Reply<z.output<R>>> {
    if (this.#closed !== undefined) throw this.#lost();
    options.signal?.throwIfAborted();
    const message = toMessage(body);
    if (sizeOf(message) > MAX_REQUEST_BYTES)
      throw new CodedError('TOO_LARGE', `${of.name}: a request is at most ${MAX_REQUEST_BYTES} bytes`);
    if (this.#waiting.size >= MOST_OPEN)
      throw new CodedError('OVERLOADED', `too many requests wait for ${this.siteId}`, { retryAfterSeconds: 1 });
    const deadlineMs = options.deadlineMs ?? DEADLINE_MS;
    const id = this.#nextId++;
    let answer: Message;
    let timer: NodeJS.Timeout | undefined;
    let aborted: (() => void) | undefined;
    try {
      answer = await new Promise<Message>((resolve, reject) => {
        this.#waiting.set(id, { assembly: new Assembly(MAX_ANSWER_BYTES), error: false, done: resolve, fail: reject });
        const giveUp = (error: unknown) => {
          void this.#raw(singleFrame({ kind: '.cancel', reply_to: id }, null));
          reject(error as Error);
        };
        timer = setTimeout(() => giveUp(new CodedError('DEADLINE', `no answer from ${this.siteId} within ${deadlineMs} ms`)), deadlineMs);
        aborted = () => giveUp(options.signal?.reason);
        options.signal?.addEventListener('abort', aborted, { once: true });
        this.#send({ id, kind: of.name, deadline_ms: Math.ceil(deadlineMs) }, message).catch(reject);
      });
    } finally {
      clearTimeout(timer);
      if (aborted !== undefined) options.signal?.removeEventListener('abort', aborted);
      this.#answering -= this.#waiting.get(id)?.assembly.size ?? 0;
      this.#waiting.delete(id);
    }
    const parsed = of.reply.safeParse(readJson(answer.body));
    if (!parsed.success)
      throw new CodedError('INTERNAL', `${this.siteId} answered ${of.name} in an unknown shape`, { cause: parsed.error });
    return { body: parsed.data, data: answer.data };
  }

  onClose(listener: (reason: string) => void): void {
    if (this.#closed === undefined) this.#listeners.push(listener);
    else listener(this.#closed);
  }

  close(reason: string): void {
    this.#end(reason);
    this.#parts.channel.close();
  }

  #lost(): CodedError {
    return new CodedError('SPOKE_UNAVAILABLE', `the link to ${this.siteId} is closed: ${this.#closed ?? ''}`, { retryAfterSeconds: 5 });
  }

  #end(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    clearInterval(this.#timer);
    this.#serving.stop();
    for (const { fail } of this.#waiting.values()) fail(this.#lost());
    this.#waiting.clear();
    for (const listener of this.#listeners.splice(0)) listener(reason);
  }

  // ---- out ----------------------------------------------------------------------------------------------------------
  #raw(frame: Buffer): Promise<void> {
    if (this.#closed !== undefined) return Promise.resolve();
    this.traffic.sent += frame.length;
    return this.#parts.channel.send(frame);
  }

  /** Pieces take turns, so that a large message holds up no other for long. */
  async #send(head: Parameters<typeof framesOf>[0], message: Message): Promise<void> {
    if (this.#unsent >= MOST_UNSENT) this.close('the other end asks and does not read');
    this.#unsent += 1;
    try {
      for (const frame of framesOf(head, message)) {
        if (this.#closed !== undefined) throw this.#lost();
        this.#turn = this.#turn.then(() => this.#raw(frame));
        await this.#turn;
      }
    } finally {
      this.#unsent -= 1;
    }
  }

  // ---- in -----------------------------------------------------------------------------------------------------------
  #received(bytes: Uint8Array): void {
    if (this.#closed !== undefined) return;
    this.#lastHeard = this.#parts.clock.monotonic();
    this.traffic.received += bytes.length;
    let frame: LinkFrame;
    try {
      frame = codecs.linkFrame.decode(bytes);
    } catch (thrown) {
      this.close(`a frame does not parse: ${messageOf(thrown)}`);
      return;
    }
    if (frame.kind === '.ping') {
      this.#pinged(frame);
      return;
    }
    this.#lastProof = this.#lastHeard;
    if (frame.kind === '.pong') this.#ponged(frame);
    else if (frame.kind === '.cancel') this.#serving.cancel(frame.reply_to);
    else if (frame.reply_to !== 0) this.#answered(frame);
    else this.#serving.take(frame);
  }

  #answered(frame: LinkFrame): void {
    const waiting = this.#waiting.get(frame.reply_to);
    if (waiting === undefined) return; // it was given up meanwhile
    try {
      const before = waiting.assembly.size;
      const message = waiting.assembly.add(frame);
      this.#answering += waiting.assembly.size - before;
      if (this.#answering > MOST_ANSWERING) throw new CodedError('TOO_LARGE', `the answers of ${this.siteId} are too large together`);
      if (message === undefined) return;
      if (frame.error) waiting.fail(fromFault(faultOf(message)));
      else waiting.done(message);
    } catch (thrown) {
      void this.#raw(singleFrame({ kind: '.cancel', reply_to: frame.reply_to }, null));
      waiting.fail(thrown instanceof CodedError ? thrown : new CodedError('BAD_REQUEST', messageOf(thrown)));
    }
  }

  // ---- heartbeats ---------------------------------------------------------------------------------------------------
  #ping(): void {
    const { clock } = this.#parts;
    void this.#raw(singleFrame({ kind: '.ping' }, { sent: clock.monotonic(), ...this.#beatBody() }));
  }

  #beatBody(): JsonObject {
    return { clock_ms: this.#parts.clock.now(), beat: this.#parts.heartbeat?.() ?? {} };
  }

  #beat(): void {
    const { clock, heartbeatMs } = this.#parts;
    const now = clock.monotonic();
    // after a pause of this process the other end gets a turn before it is judged
    const late = now - this.#lastBeat > heartbeatMs * 2;
    this.#lastBeat = now;
    if (!late && now - this.#lastProof > heartbeatMs * SILENT) {
      const seconds = (since: number) => Math.round((now - since) / 100) / 10;
      this.close(`no answer for ${seconds(this.#lastProof)} s, nothing heard for ${seconds(this.#lastHeard)} s`);
      return;
    }
    this.#ping();
  }

  #pinged(frame: LinkFrame): void {
    const body = objectOf(frame);
    const { sent } = body;
    // one at a time: who asks without reading waits for its own sake
    if (!this.#ponging) {
      this.#ponging = true;
      const pong = singleFrame({ kind: '.pong' }, { sent: typeof sent === 'number' ? sent : 0, clock_ms: this.#parts.clock.now() });
      void this.#raw(pong).finally(() => {
        this.#ponging = false;
      });
    }
    if (isPlainObject(body['beat'])) this.#parts.onHeartbeat?.(body['beat'] as JsonObject);
  }

  #ponged(frame: LinkFrame): void {
    const { sent, clock_ms: theirs } = objectOf(frame);
    if (typeof sent !== 'number' || typeof theirs !== 'number') return;
    const { clock } = this.#parts;
    this.rttMs = Math.max(0, clock.monotonic() - sent);
    this.clockOffsetMs = Math.round(theirs + this.rttMs / 2 - clock.now());
  }
}

function readJson(body: Uint8Array): unknown {
  try {
    return jsonOf(body);
  } catch {
    // what does not parse has no known shape either
    return undefined;
  }
}

function objectOf(frame: LinkFrame): Record<string, unknown> {
  const value = readJson(frame.body);
  return isPlainObject(value) ? value : {};
}

function faultOf({ body }: Message): WireFault {
  const value = readJson(body);
  const { code, message, hint, retryAfterSeconds, details } = isPlainObject(value) ? value : {};
  return {
    code: typeof code === 'string' ? code : 'INTERNAL',
    message: typeof message === 'string' ? message : 'the other end failed',
    hint: typeof hint === 'string' ? hint : undefined,
    retryAfterSeconds: typeof retryAfterSeconds === 'number' ? retryAfterSeconds : undefined,
    details: isPlainObject(details) ? details : undefined,
  };
}
