/** Merges pages of sites into one page: memory holds one page a site; the cursor knows where each site stands. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';

/** How far the list of one site is read. */
export interface Place {
  /** of the page that is read now; null: its first */
  readonly cursor: string | null;
  /** rows of that page that were answered, and the last of them */
  readonly consumed: number;
  readonly last: string;
  readonly done: boolean;
}

export interface SitePage {
  readonly site: string;
  readonly items: readonly Readonly<Record<string, unknown>>[];
  readonly nextCursor: string | null;
}

export interface Order {
  /** below 0: `a` comes first. The sites' own lists are in this order. */
  compare(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): number;
  /** what makes a row the same row, wherever it comes from */
  key(row: Readonly<Record<string, unknown>>): string;
}

export const START: Place = { cursor: null, consumed: 0, last: '', done: false };
/** It did not answer once: the rest of this listing goes without it, and says so. */
export const LOST: Place = { cursor: '!', consumed: 0, last: '', done: true };

const placesSchema = z.record(z.string(), z.tuple([z.string().nullable(), z.number().int().nonnegative(), z.string(), z.boolean()]));
const LIFE_MS = 24 * 3_600_000;
/** A restart ends all listings under way, as it does at a site. */
const KEY = randomBytes(32);
const MAX_CURSOR = 8 * 1024;

function sign(text: string): string {
  return createHmac('sha256', KEY).update(text).digest('base64url').slice(0, 22);
}

export function writePlaces(kind: string, places: ReadonlyMap<string, Place>, now: number): string {
  const rows = Object.fromEntries([...places].map(([site, { cursor, consumed, last, done }]) => [site, [cursor, consumed, last, done]]));
  const text = deflateRawSync(JSON.stringify([kind, rows, now + LIFE_MS])).toString('base64url');
  return `${text}.${sign(text)}`;
}

/** @throws CodedError CURSOR_EXPIRED */
export function readPlaces(kind: string, cursor: string, now: number): ReadonlyMap<string, Place> {
  const expired = new CodedError('CURSOR_EXPIRED', 'the cursor is not valid any more', { hint: 'start the listing again' });
  const [text = '', signature = ''] = cursor.split('.');
  const [wanted, given] = [Buffer.from(sign(text)), Buffer.from(signature)];
  if (cursor.length > MAX_CURSOR || wanted.length !== given.length || !timingSafeEqual(wanted, given)) throw expired;
  const [of, rows, until] = JSON.parse(inflateRawSync(Buffer.from(text, 'base64url')).toString('utf8')) as [string, unknown, number];
  if (of !== kind || until < now) throw expired;
  return new Map(
    Object.entries(placesSchema.parse(rows)).map(([site, [at, consumed, last, done]]) => [site, { cursor: at, consumed, last, done }]),
  );
}

/** Rows of a page that were not answered yet. New rows may have come in front of them since. */
function rest({ items }: SitePage, { consumed, last }: Place, order: Order): readonly Readonly<Record<string, unknown>>[] {
  if (consumed === 0) return items;
  const at = items.findIndex((row) => order.key(row) === last);
  return items.slice(at >= 0 ? at + 1 : consumed);
}

/** The next `limit` rows of all, and where each site stands after them. */
export function mergePages(
  pages: readonly SitePage[],
  before: ReadonlyMap<string, Place>,
  order: Order,
  limit: number,
): { readonly items: readonly Readonly<Record<string, unknown>>[]; readonly places: ReadonlyMap<string, Place> } {
  const places = new Map(before);
  const lanes = pages.map((page) => {
    const place = before.get(page.site) ?? START;
    const rows = rest(page, place, order);
    return { page, place, rows, skipped: page.items.length - rows.length, at: 0 };
  });
  const items: Readonly<Record<string, unknown>>[] = [];
  const seen = new Set<string>();
  while (items.length < limit) {
    let first: (typeof lanes)[number] | undefined;
    for (const lane of lanes) {
      const row = lane.rows[lane.at];
      if (row === undefined) {
        // rows of the next page of this site may come before those of the others
        if (lane.page.nextCursor !== null && lane.page.items.length > 0) return finished();
        continue;
      }
      if (first === undefined || order.compare(row, first.rows[first.at]!) < 0) first = lane;
    }
    if (first === undefined) break;
    const row = first.rows[first.at++]!;
    // an envoy on its way from one site to another is at both for a moment
    const key = order.key(row);
    if (!seen.has(key)) items.push(row);
    seen.add(key);
  }
  return finished();

  function finished() {
    for (const { page, place, rows, skipped, at } of lanes) {
      const isUsedUp = at >= rows.length;
      if (isUsedUp && page.nextCursor === null) places.set(page.site, { ...place, cursor: place.cursor, done: true });
      else if (isUsedUp) places.set(page.site, { cursor: page.nextCursor, consumed: 0, last: '', done: false });
      else if (at > 0) places.set(page.site, { cursor: place.cursor, consumed: skipped + at, last: order.key(rows[at - 1]!), done: false });
      else places.set(page.site, place);
    }
    return { items, places };
  }
}
