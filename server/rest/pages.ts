/** Cursors of lists: opaque, signed, good for 24 hours. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { SpokeStatusItem } from '../../core/api/route.ts';
import { CodedError } from '../../core/base/errors.ts';

/** the last millisecond a Date can hold */
const MAX_DATE = 8.64e15;
const LIFE_MS = 24 * 3_600_000;
/** A restart ends all listings under way, which then start again. */
const KEY = randomBytes(32);

function sign(text: string): string {
  return createHmac('sha256', KEY).update(text).digest('base64url').slice(0, 22);
}

/** `kind` keeps a cursor of one list out of another. */
export function writeCursor(kind: string, position: string | number, now: number): string {
  const text = Buffer.from(JSON.stringify([kind, position, now + LIFE_MS])).toString('base64url');
  return `${text}.${sign(text)}`;
}

/** @throws CodedError CURSOR_EXPIRED */
export function readCursor<T extends 'string' | 'number'>(
  kind: string,
  cursor: string | undefined,
  type: T,
  now: number,
): (T extends 'string' ? string : number) | undefined {
  if (cursor === undefined) return undefined;
  const expired = new CodedError('CURSOR_EXPIRED', 'the cursor is not valid any more', { hint: 'start the listing again' });
  const [text = '', signature = ''] = cursor.split('.');
  const wanted = Buffer.from(sign(text));
  const given = Buffer.from(signature);
  if (wanted.length !== given.length || !timingSafeEqual(wanted, given)) throw expired;
  const [of, position, until] = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as [string, unknown, number];
  if (of !== kind || until < now || typeof position !== type) throw expired;
  return position as T extends 'string' ? string : number;
}

export function page<T>(
  items: readonly T[],
  nextCursor: string | null,
): { items: T[]; next_cursor: string | null; complete: boolean; spokes: SpokeStatusItem[] } {
  return { items: [...items], next_cursor: nextCursor, complete: true, spokes: [] };
}

/** RFC 3339, or null for the zero time. */
export function timeText(ms: number): string | null {
  return ms > 0 && ms <= MAX_DATE ? new Date(ms).toISOString() : null;
}
