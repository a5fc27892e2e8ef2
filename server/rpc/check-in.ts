/** Answers one check-in from memory (config.md §13.4): no signature for `no_change` beyond the shared site head, at most two for anything else. */
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { idText } from '../../core/base/ids.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import { signFor } from '../../core/crypto/domain.ts';
import type { SigningKey } from '../../core/crypto/ed25519.ts';
import { BODY_SCHEMA } from '../../core/policy/body.ts';
import { type BundleHeader, signHead, signHeader, ZERO_HASH } from '../../core/policy/bundle.ts';
import { codecs, PROTOCOL_VERSION } from '../../proto/load.ts';
import type { CheckInRequest, Directive } from '../../proto/messages.ts';
import { CONTROL, CONTROL64, type Columns, FLAG } from '../fleet/columns.ts';
import type { Authenticated } from './authenticate.ts';
import type { EntryRow, ReleaseTable } from './release-table.ts';

export const CHECK_IN_STATUSES = ['no_change', 'renew', 'bundle', 'no_policy', 'wait'] as const;
export type CheckInStatus = (typeof CHECK_IN_STATUSES)[number];

const HEAD_LIFE_MS = 5 * 60_000;
const DAY_MS = 86_400_000;
const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

export interface CheckInSettings {
  readonly fleetId: string;
  readonly siteId: string;
  readonly serverId: string;
  readonly epoch: number;
  readonly intervalMs: number;
  readonly jitterPct: number;
  readonly bundleMaxAgeMs: number;
  readonly inlineLimit: number;
  /** bytes of one set of traits */
  readonly traitsLimit: number;
  readonly delegation: { readonly record: string; readonly signature: string };
  readonly keyId: string;
}

/** What a check-in tells the main thread; everything else stays in the columns. */
export interface CheckInEvents {
  traits(slot: number, request: CheckInRequest): void;
  regressed(slot: number): void;
  arrived(slot: number): void;
  rejected(slot: number, reason: string): void;
  flagged(slot: number, flags: readonly string[]): void;
}

function equalAt(column: Uint8Array, slot: number, bytes: Uint8Array): boolean {
  if (bytes.length !== 32) return false;
  for (let i = 0, at = slot * 32; i < 32; i++) if (column[at + i] !== bytes[i]) return false;
  return true;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export class CheckInService {
  readonly #columns: Columns;
  readonly #settings: CheckInSettings;
  #delegation: CheckInSettings['delegation'];
  readonly #key: SigningKey;
  readonly #clock: Clock;
  readonly #events: CheckInEvents;
  readonly #tables = new Map<number, ReleaseTable>();
  #noChange: { second: number; generation: number; keep: Buffer; close: Buffer } | undefined;

  constructor(parts: { columns: Columns; settings: CheckInSettings; key: SigningKey; clock: Clock; events: CheckInEvents }) {
    this.#columns = parts.columns;
    this.#settings = parts.settings;
    this.#delegation = parts.settings.delegation;
    this.#key = parts.key;
    this.#clock = parts.clock;
    this.#events = parts.events;
  }

  /** Keeps the table beside the present one until the generation moves on. */
  take(table: ReleaseTable): void {
    for (const generation of this.#tables.keys()) if (generation < table.generation - 1) this.#tables.delete(generation);
    this.#tables.set(table.generation, table);
  }

  handle({ slot, header, payload }: Authenticated, keepConnection: boolean): { readonly status: CheckInStatus; readonly reply: Buffer } {
    const request = this.#decode(payload);
    const now = this.#clock.now();
    const fullTraits = this.#note(slot, request, now);
    const flags = Atomics.load(this.#columns.flags, slot);
    if ((flags & FLAG.arrived) !== 0) this.#arrived(slot);
    const generation = Atomics.load(this.#columns.control, CONTROL.generation);
    const table = this.#tables.get(generation);
    if (table === undefined)
      return {
        status: 'wait',
        reply: codecs.checkInReply.encode({ wait: { retry_after_s: 5 }, directive: this.#directive(now, keepConnection, fullTraits) }),
      };
    const row = table.entries[this.#columns.entries[generation & 1]![slot]!];
    const forced = (flags & FLAG.forcePush) !== 0;
    if (row !== undefined && !forced && !request.renew && this.#isCurrent(request, table, row)) {
      if (fullTraits) return { status: 'no_change', reply: this.#encodeNoChange(table, now, keepConnection, true) };
      return { status: 'no_change', reply: this.#sharedNoChange(table, now, keepConnection) };
    }
    const kind = row === undefined ? 'no_policy' : !forced && this.#holdsBody(request, row) ? 'renew' : 'bundle';
    if (forced) Atomics.and(this.#columns.flags, slot, ~FLAG.forcePush);
    return {
      status: kind,
      reply: this.#signedAnswer(kind, {
        request,
        envoyId: header.envoyId,
        ownerEpoch: this.#columns.ownerEpoch[slot]!,
        sequence: header.sequence,
        table,
        row,
        now,
        directive: this.#directive(now, keepConnection, fullTraits),
      }),
    };
  }

  /** The first one here after a move. */
  #arrived(slot: number): void {
    Atomics.and(this.#columns.flags, slot, ~FLAG.arrived);
    this.#events.arrived(slot);
  }

  #decode(payload: Uint8Array): CheckInRequest {
    let request: CheckInRequest;
    try {
      request = codecs.checkInRequest.decode(payload);
    } catch (cause) {
      throw new CodedError('BAD_REQUEST', 'the check-in does not parse', { cause });
    }
    if (request.protocol > PROTOCOL_VERSION + 1 || request.protocol < PROTOCOL_VERSION - 1)
      throw new CodedError('PROTOCOL_TOO_OLD', `protocol ${request.protocol} and ${PROTOCOL_VERSION} are more than one apart`);
    if ((request.traits?.set.length ?? 0) > this.#settings.traitsLimit)
      throw new CodedError('TOO_LARGE', `traits above ${this.#settings.traitsLimit} bytes`, { hint: 'limits.traits_size' });
    if (!Number.isSafeInteger(request.held_seq) || !Number.isSafeInteger(request.release))
      throw new CodedError('BAD_REQUEST', 'a counter is out of range');
    return request;
  }

  /** Writes what the envoy says of itself into the columns. True when its whole traits are needed. */
  #note(slot: number, request: CheckInRequest, now: number): boolean {
    const columns = this.#columns;
    if (request.held_seq < columns.heldSeq[slot]!) this.#events.regressed(slot);
    columns.lastSeen[slot] = now;
    columns.release[slot] = request.release;
    columns.heldSeq[slot] = request.held_seq;
    columns.secretsEpoch[slot] = request.secrets_epoch;
    if (request.policy_hash.length === 32) columns.policyHash.set(request.policy_hash, slot * 32);
    if (request.held_header_hash.length === 32) columns.headerHash.set(request.held_header_hash, slot * 32);
    columns.dirty[slot] = 1;
    if (request.flags.length > 0) this.#events.flagged(slot, request.flags);
    if (request.bundle_rejected !== '') this.#events.rejected(slot, request.bundle_rejected);
    const traits = request.traits;
    if (traits === null || traits.hash.length !== 32 || equalAt(columns.traitsHash, slot, traits.hash)) return false;
    if (!traits.full && !equalAt(columns.traitsHash, slot, traits.base_hash)) return true;
    columns.traitsHash.set(traits.hash, slot * 32);
    this.#events.traits(slot, request);
    return false;
  }

  #isCurrent(request: CheckInRequest, table: ReleaseTable, row: EntryRow): boolean {
    return (
      request.release === table.number &&
      request.body_schema === BODY_SCHEMA &&
      request.secrets_epoch === row.secretsEpoch &&
      equal(request.directive_hash, row.authorityHash) &&
      equal(request.policy_hash, row.policyHashBytes)
    );
  }

  #holdsBody(request: CheckInRequest, row: EntryRow): boolean {
    return (
      request.body_schema === BODY_SCHEMA && request.secrets_epoch === row.secretsEpoch && equal(request.policy_hash, row.policyHashBytes)
    );
  }

  #directive(now: number, keep: boolean, fullTraits: boolean): Directive {
    return {
      next_ms: this.#settings.intervalMs,
      keep_connection: keep,
      trait_refresh_full: fullTraits,
      server_time_ms: now,
      jitter_pct: this.#settings.jitterPct,
      checkpoint: null,
    };
  }

  #sharedNoChange(table: ReleaseTable, now: number, keep: boolean): Buffer {
    const second = Math.floor(now / 1000);
    if (this.#noChange?.second !== second || this.#noChange.generation !== table.generation) {
      this.#noChange = {
        second,
        generation: table.generation,
        keep: this.#encodeNoChange(table, now, true, false),
        close: this.#encodeNoChange(table, now, false, false),
      };
    }
    return keep ? this.#noChange.keep : this.#noChange.close;
  }

  #encodeNoChange(table: ReleaseTable, now: number, keep: boolean, fullTraits: boolean): Buffer {
    const { fleetId, siteId, serverId, epoch, keyId } = this.#settings;
    const issued = Math.floor(now / 1000) * 1000;
    const head = signHead(this.#key, {
      fleet_id: fleetId,
      site_id: siteId,
      server_id: serverId,
      epoch,
      release: table.number,
      root: table.root,
      issued_at: new Date(issued).toISOString(),
      expires_at: new Date(issued + HEAD_LIFE_MS).toISOString(),
    });
    return codecs.checkInReply.encode({ no_change: { head, key_id: keyId }, directive: this.#directive(now, keep, fullTraits) });
  }

  #nextSeq(now: number, heldSeq: number): number {
    const floor = BigInt(Math.max(now, heldSeq <= now + DAY_MS ? heldSeq + 1 : 0));
    const { control64 } = this.#columns;
    for (;;) {
      const last = Atomics.load(control64, CONTROL64.lastIssuedSeq);
      const next = floor > last ? floor : last + 1n;
      if (Atomics.compareExchange(control64, CONTROL64.lastIssuedSeq, last, next) === last) return Number(next);
    }
  }

  #signedAnswer(
    kind: 'renew' | 'bundle' | 'no_policy',
    a: {
      request: CheckInRequest;
      envoyId: Uint8Array;
      ownerEpoch: number;
      sequence: number;
      table: ReleaseTable;
      row: EntryRow | undefined;
      now: number;
      directive: Directive;
    },
  ): Buffer {
    const { settings, row } = { settings: this.#settings, row: a.row };
    const held = a.request.held_header_hash.length === 32 ? Buffer.from(a.request.held_header_hash).toString('hex') : ZERO_HASH;
    const header: BundleHeader = {
      kind,
      fleet_id: settings.fleetId,
      envoy_id: idText(a.envoyId),
      site_id: settings.siteId,
      server_id: settings.serverId,
      owner_epoch: a.ownerEpoch,
      epoch: settings.epoch,
      seq: this.#nextSeq(a.now, a.request.held_seq),
      release: a.table.number,
      body_sha256: row?.bodySha256 ?? EMPTY_SHA256,
      body_len: row?.body.length ?? 0,
      policy_hash: row?.policyHash ?? ZERO_HASH,
      issued_at: new Date(a.now).toISOString(),
      expires_at: settings.bundleMaxAgeMs === 0 ? null : new Date(a.now + settings.bundleMaxAgeMs).toISOString(),
      prev: held,
      observe: row?.observe ?? false,
      explicit_empty: row?.explicitEmpty ?? false,
      key_id: settings.keyId,
      ...(row === undefined ? { reason: 'no_match' } : {}),
    };
    const inline = kind === 'bundle' && row !== undefined && row.body.length <= settings.inlineLimit;
    const payload = codecs.signedAnswer.encode({
      envoy_id: a.envoyId,
      sequence: a.sequence,
      kind,
      header: signHeader(this.#key, header),
      body: inline ? row.body : Buffer.alloc(0),
      body_sha256: header.body_sha256,
      body_len: header.body_len,
      authority: (row ?? a.table.unmatched).authority,
    });
    const delegation = a.request.known_keys.includes(settings.keyId)
      ? null
      : { record: Buffer.from(this.#delegation.record), signature: Buffer.from(this.#delegation.signature, 'base64') };
    return codecs.checkInReply.encode({
      signed: { payload, signature: signFor('checkInReply', this.#key, payload), key_id: settings.keyId, delegation },
      directive: a.directive,
    });
  }

  /** after a renewal */
  useDelegation(delegation: CheckInSettings['delegation']): void {
    this.#delegation = delegation;
  }

  /** The signed word that an envoy is revoked (details of the error). */
  signRevoked(details: Readonly<Record<string, unknown>>): {
    readonly record: string;
    readonly signature: string;
    readonly key_id: string;
  } {
    const record = canonicalBytes({ ...details, code: 'REVOKED', at: this.#clock.now() });
    return {
      record: record.toString('utf8'),
      signature: signFor('checkInReply', this.#key, record).toString('base64'),
      key_id: this.#settings.keyId,
    };
  }
}
