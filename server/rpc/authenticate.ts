/** Who asks: certificate, signature, time and sequence must all agree. No database, no decoding beyond the header before the signature holds. */

import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { idText } from '../../core/base/ids.ts';
import { type Domain, verifyFor } from '../../core/crypto/domain.ts';
import { type Header, readHeader, readSignedRequest, WireError } from '../../proto/fast.ts';
import { CONTROL, type Columns, FLAG } from '../fleet/columns.ts';
import { findSlot } from '../fleet/id-table.ts';

/** Either way of the clock (identity-and-wire.md §3). */
export const CLOCK_WINDOW_MS = 5 * 60_000;
const RETRY_WINDOW_MS = 2 * 60_000;

export interface Site {
  readonly fleetId: Uint8Array;
  readonly siteId: string;
  readonly epoch: number;
  /** requests signed before are refused: what was accepted before a restart must not be accepted again */
  readonly startedAt: number;
}

export interface Authenticated {
  readonly slot: number;
  readonly header: Header;
  readonly payload: Uint8Array;
  /** the same bytes were accepted before: give the same answer, apply nothing twice */
  readonly retry: boolean;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function decodeHeader(payload: Uint8Array): Header {
  try {
    const header = readHeader(payload);
    const counters = [header.sequence, header.sentAtMs, header.ownerEpoch, header.highestEpoch];
    if (header.fleetId.length !== 16 || header.envoyId.length !== 16 || !counters.every(Number.isSafeInteger))
      throw new WireError('header out of range');
    return header;
  } catch (cause) {
    throw new CodedError('BAD_REQUEST', 'the signed payload does not begin with a request header', { cause });
  }
}

export class Authenticator {
  readonly #columns: Columns;
  readonly #site: Site;
  readonly #clock: Clock;
  readonly #begun: number;

  constructor(columns: Columns, site: Site, clock: Clock) {
    this.#columns = columns;
    this.#site = site;
    this.#clock = clock;
    this.#begun = clock.monotonic();
  }

  /**
   * @param peerEnvoyId 16 bytes from the TLS certificate; undefined where the transport does not prove one (renewal with an expired certificate)
   * @throws CodedError BAD_REQUEST, IDENTITY_MISMATCH, WRONG_AUDIENCE, RETRY_ELSEWHERE, REDIRECT, REVOKED, BAD_SIGNATURE, CLOCK_SKEW, RETRY_FRESH, FENCED, REPLAYED
   */
  authenticate(domain: Domain, request: Uint8Array, peerEnvoyId: Uint8Array | undefined): Authenticated {
    let signed: { readonly payload: Uint8Array; readonly signature: Uint8Array };
    try {
      signed = readSignedRequest(request);
    } catch (cause) {
      throw new CodedError('BAD_REQUEST', 'not a signed request', { cause });
    }
    const header = decodeHeader(signed.payload);
    const site = this.#site;
    if (!sameBytes(header.fleetId, site.fleetId)) throw new CodedError('IDENTITY_MISMATCH', 'the request belongs to another fleet');
    if (peerEnvoyId !== undefined && !sameBytes(header.envoyId, peerEnvoyId))
      throw new CodedError('IDENTITY_MISMATCH', 'certificate and signature name different envoys');
    if (header.audience !== site.siteId) throw new CodedError('WRONG_AUDIENCE', `this is site ${site.siteId}`);
    const slot = findSlot(this.#columns, header.envoyId);
    if (slot < 0) throw new CodedError('RETRY_ELSEWHERE', 'this envoy is not known here, perhaps not yet');
    if (!verifyFor(domain, this.#columns.key.subarray(slot * 32, slot * 32 + 32), signed.payload, signed.signature))
      throw new CodedError('BAD_SIGNATURE', 'the request is not signed by the identity key of this envoy');
    const flags = Atomics.load(this.#columns.flags, slot);
    if ((flags & FLAG.revoked) !== 0)
      throw new CodedError('REVOKED', 'this envoy is revoked', {
        details: { envoy_id: idText(header.envoyId), sequence: header.sequence },
      });
    if ((flags & FLAG.departed) !== 0 || this.#columns.control[CONTROL.fenced] === 1)
      throw new CodedError('REDIRECT', 'another site owns this envoy');
    if ((flags & FLAG.active) === 0) throw new CodedError('ENROLLMENT_PENDING', 'this envoy waits for approval', { retryAfterSeconds: 60 });
    this.#checkTime(header);
    if (header.highestEpoch > site.epoch) throw new CodedError('FENCED', 'the envoy has seen a higher epoch of this site');
    // it has seen a grant that we have not: whoever gave it knows more than we do
    if (header.ownerEpoch > this.#columns.ownerEpoch[slot]!) throw new CodedError('REDIRECT', 'the envoy has seen a higher owner epoch');
    return { slot, header, payload: signed.payload, retry: this.#take(slot, header, signed.signature) };
  }

  #checkTime(header: Header): void {
    const now = this.#clock.now();
    if (Math.abs(header.sentAtMs - now) > CLOCK_WINDOW_MS)
      throw new CodedError('CLOCK_SKEW', 'the clocks of envoy and server differ by more than 5 minutes', {
        details: { server_time_ms: now },
      });
    // a clock that was set back after the start must not shut everybody out until it has caught up
    const startedAt = Math.min(this.#site.startedAt, now - (this.#clock.monotonic() - this.#begun));
    if (header.sentAtMs < startedAt)
      throw new CodedError('RETRY_FRESH', 'signed before this server started', { details: { server_time_ms: now } });
  }

  /** Raises the sequence, once, whichever thread is first. True for an honest retry. */
  #take(slot: number, header: Header, signature: Uint8Array): boolean {
    const { sequence, digest } = this.#columns;
    const wanted = BigInt(header.sequence);
    const mark = new DataView(signature.buffer, signature.byteOffset, 8).getBigInt64(0);
    for (;;) {
      const held = Atomics.load(sequence, slot);
      if (wanted === held && Atomics.load(digest, slot) === mark && this.#clock.now() - header.sentAtMs < RETRY_WINDOW_MS) return true;
      if (wanted <= held)
        throw new CodedError('REPLAYED', 'this sequence number was used', {
          details: { sequence: header.sequence, highest: Number(held) },
        });
      if (Atomics.compareExchange(sequence, slot, held, wanted) === held) {
        Atomics.store(digest, slot, mark);
        this.#columns.dirty[slot] = 1;
        return false;
      }
    }
  }
}
