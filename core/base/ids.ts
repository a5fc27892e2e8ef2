/** Identifiers: UUID version 7 (RFC 9562), time-ordered. */
import { randomBytes } from 'node:crypto';

/** The 36-character text of a UUID in lower case. */
export type EnvoyId = string & { readonly __brand: 'EnvoyId' };

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function isUuid(text: string): text is EnvoyId {
  return UUID.test(text);
}

/** A fresh UUID v7 for the given time in milliseconds since 1970. */
export function newId(now: number): EnvoyId {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Math.max(0, Math.floor(now)), 0, 6);
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  return idText(bytes);
}

/** 16 bytes to text. */
export function idText(bytes: Uint8Array, offset = 0): EnvoyId {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset + offset, 16).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}` as EnvoyId;
}

/** Text to 16 bytes. */
export function idBytes(id: string): Buffer {
  return Buffer.from(id.replaceAll('-', ''), 'hex');
}
