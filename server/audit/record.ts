/** One audit record (server.md §12.5): its shape, its limits, its canonical bytes. */
import { canonicalJson, type Json, type JsonObject } from '../../core/base/json.ts';

export const ACTOR_KINDS = ['user', 'token', 'local', 'envoy', 'schedule', 'system', 'peer', 'spoke'] as const;

export interface Actor {
  readonly kind: (typeof ACTOR_KINDS)[number];
  readonly id: string;
  readonly name: string;
  readonly address?: string | undefined;
  /** what a failed claim said it was */
  readonly claimedBy?: string | undefined;
}

export interface AuditEvent {
  readonly actor: Actor;
  /** a name of the table in server.md §12.5, such as `token.spent` */
  readonly event: string;
  readonly target?: { readonly kind: string; readonly id: string; readonly name?: string | undefined } | undefined;
  readonly outcome: 'ok' | 'denied' | 'failed';
  readonly requestId?: string | undefined;
  /** never holds a secret */
  readonly data?: JsonObject | undefined;
}

export const SYSTEM: Actor = { kind: 'system', id: 'system', name: 'system' };

const MAX_RECORD_BYTES = 16 * 1024;
const MAX_TEXT = 2048;
const SHORT_TEXT = 128;

/** Lone surrogates have no canonical form; a cut is marked. */
function cut(text: string, most: number): string {
  const whole = text.toWellFormed();
  return whole.length > most ? `${whole.slice(0, most).toWellFormed()}…(cut)` : whole;
}

function cutAll(value: Json, most: number, depth = 0): Json {
  if (typeof value === 'string') return cut(value, most);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > 8) return '…(cut)';
  if (Array.isArray(value)) return value.slice(0, 200).map((item: Json) => cutAll(item, most, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [cut(key, SHORT_TEXT), cutAll(member, most, depth + 1)]));
}

/** Canonical JSON of at most 16 KiB: strings are cut first, then the data as a whole. */
export function recordText(event: AuditEvent, where: { seq: number; time: number; site: string; epoch: number }): string {
  const { claimedBy, ...actor } = event.actor;
  const of = (data: Json, most: number) =>
    canonicalJson({
      seq: where.seq,
      time: new Date(where.time).toISOString(),
      site: where.site,
      epoch: where.epoch,
      actor: cutAll(withoutUndefined({ ...actor, claimed_by: claimedBy }), Math.min(most, SHORT_TEXT * 2)),
      event: event.event,
      target: event.target === undefined ? undefined : cutAll(withoutUndefined(event.target), Math.min(most, SHORT_TEXT * 2)),
      outcome: event.outcome,
      request_id: cut(event.requestId ?? '', SHORT_TEXT),
      data,
    });
  for (const most of [MAX_TEXT, SHORT_TEXT]) {
    const text = of(cutAll(event.data ?? {}, most), most);
    if (Buffer.byteLength(text) <= MAX_RECORD_BYTES) return text;
  }
  return of({ cut: true, bytes: Buffer.byteLength(JSON.stringify(event.data ?? {})) }, SHORT_TEXT);
}

function withoutUndefined(value: object): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined));
}
