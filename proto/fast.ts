/** Hand-written readers for the two messages that every request brings, so that nothing is decoded before the signature holds. Other fields are skipped. */

/** Where a message does not parse. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

class Reader {
  readonly bytes: Uint8Array;
  at = 0;
  readonly end: number;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.end = bytes.length;
  }

  varint(): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.end) throw new WireError('truncated');
      const byte = this.bytes[this.at++]!;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
    throw new WireError('varint too long');
  }

  slice(): Uint8Array {
    const length = this.varint();
    if (this.at + length > this.end) throw new WireError('truncated');
    const part = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return part;
  }

  skip(wireType: number): void {
    if (wireType === 0) this.varint();
    else if (wireType === 1) this.at += 8;
    else if (wireType === 2) this.slice();
    else if (wireType === 5) this.at += 4;
    else throw new WireError('unknown wire type');
    if (this.at > this.end) throw new WireError('truncated');
  }
}

const EMPTY: Uint8Array = new Uint8Array(0);

/** payload = field 1, signature = field 2 */
export function readSignedRequest(bytes: Uint8Array): { readonly payload: Uint8Array; readonly signature: Uint8Array } {
  const reader = new Reader(bytes);
  let payload: Uint8Array = EMPTY;
  let signature: Uint8Array = EMPTY;
  while (reader.at < reader.end) {
    const tag = reader.varint();
    if (tag === 10) payload = reader.slice();
    else if (tag === 18) signature = reader.slice();
    else reader.skip(tag & 7);
  }
  return { payload, signature };
}

export interface Header {
  fleetId: Uint8Array;
  envoyId: Uint8Array;
  audience: string;
  highestEpoch: number;
  ownerEpoch: number;
  sequence: number;
  sentAtMs: number;
}

/** The header must be the first field of the payload. Numbers above 2^53-1 come out unsafe: check with Number.isSafeInteger. */
export function readHeader(payload: Uint8Array): Header {
  const outer = new Reader(payload);
  if (payload.length === 0 || outer.varint() !== 10) throw new WireError('no header in front');
  const reader = new Reader(outer.slice());
  const header: Header = { fleetId: EMPTY, envoyId: EMPTY, audience: '', highestEpoch: 0, ownerEpoch: 0, sequence: 0, sentAtMs: 0 };
  while (reader.at < reader.end) {
    const tag = reader.varint();
    switch (tag) {
      case 10:
        header.fleetId = reader.slice();
        break;
      case 18:
        header.envoyId = reader.slice();
        break;
      case 26: {
        const text = reader.slice();
        header.audience = Buffer.from(text.buffer, text.byteOffset, text.length).toString('utf8');
        break;
      }
      case 32:
        header.highestEpoch = reader.varint();
        break;
      case 40:
        header.ownerEpoch = reader.varint();
        break;
      case 48:
        header.sequence = reader.varint();
        break;
      case 56:
        header.sentAtMs = reader.varint();
        break;
      default:
        reader.skip(tag & 7);
    }
  }
  return header;
}
