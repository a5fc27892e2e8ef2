/** What the accepting threads and the main thread say to each other. */
import type { FleetMemory } from '../fleet/columns.ts';
import type { CheckInSettings, CheckInStatus } from './check-in.ts';
import type { ReleaseTable } from './release-table.ts';

export interface WorkerSetup {
  readonly memory: FleetMemory;
  readonly checkIn: CheckInSettings;
  readonly startedAt: number;
  readonly secretKey: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly tls: { readonly rootCa: string; readonly certificateChain: string; readonly privateKey: string };
  readonly ticketKeys: Uint8Array | undefined;
  readonly host: string;
  readonly port: number;
  readonly connection: { readonly mode: 'auto' | 'keep' | 'close'; readonly keepBelowMs: number; readonly keepMax: number };
  readonly limits: {
    readonly messageBytes: number;
    readonly streams: number;
    readonly connections: number;
    readonly connectionsPerAddress: number;
    readonly headerTimeoutMs: number;
  };
}

export type ToWorker =
  | { readonly kind: 'listen'; readonly port: number }
  | { readonly kind: 'release'; readonly id: number; readonly table: ReleaseTable }
  | {
      readonly kind: 'context';
      readonly certificateChain: string;
      readonly privateKey: string;
      readonly ticketKeys: Uint8Array | undefined;
    }
  | { readonly kind: 'answer'; readonly id: number; readonly reply?: Uint8Array; readonly error?: WireFault }
  | { readonly kind: 'drop'; readonly envoyId: string }
  | { readonly kind: 'delegation'; readonly delegation: CheckInSettings['delegation'] }
  | ToStream
  | { readonly kind: 'stop' };

/** To a stream of a server: frames, how much of its own was taken, its end. */
export type ToStream =
  | { readonly kind: 'streamFrame'; readonly id: number; readonly frame: Uint8Array }
  | { readonly kind: 'streamTaken'; readonly id: number; readonly bytes: number }
  | { readonly kind: 'streamClose'; readonly id: number; readonly error?: WireFault | undefined };

/** Of a stream that a server opened: who it is by its certificate, its frames, how much of ours went out, its end. */
export type FromStream =
  | {
      readonly kind: 'streamOpen';
      readonly id: number;
      readonly serverId: string;
      /** SHA-256 of the peer's certificate */
      readonly certificate: string;
      readonly address: string;
    }
  | { readonly kind: 'streamFrame'; readonly id: number; readonly frame: Uint8Array }
  | { readonly kind: 'streamSent'; readonly id: number; readonly bytes: number }
  | { readonly kind: 'streamClosed'; readonly id: number; readonly reason: string };

/** An error as it crosses threads. */
export interface WireFault {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly retryAfterSeconds?: number | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** RPCs that need the store or secrets: answered by the main thread after the worker has authenticated them. */
export type ForwardedMethod = 'reportResults' | 'resolveSecrets';

export interface Forwarded {
  readonly kind: 'call';
  readonly id: number;
  readonly method: ForwardedMethod;
  readonly slot: number;
  readonly envoyId: string;
  readonly sequence: number;
  readonly retry: boolean;
  readonly payload: Uint8Array;
}

export type FromWorker =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'taken'; readonly id: number }
  | { readonly kind: 'stopped' }
  | {
      readonly kind: 'traits';
      readonly slot: number;
      readonly baseHash: string;
      readonly hash: string;
      readonly full: boolean;
      readonly set: Uint8Array;
      readonly removed: readonly string[];
    }
  | {
      readonly kind: 'event';
      readonly event: 'regressed' | 'rejected' | 'flagged' | 'arrived';
      readonly slot: number;
      readonly text: string;
    }
  /** a refused request; the main thread audits and counts it */
  | { readonly kind: 'refused'; readonly code: string; readonly method: string; readonly envoyId: string; readonly address: string }
  | {
      readonly kind: 'counts';
      readonly checkIns: Readonly<Record<CheckInStatus, number>>;
      /** check-ins per bucket of {@link DURATION_BUCKETS}, the last is above all of them */
      readonly durations: Readonly<Record<CheckInStatus, readonly number[]>>;
      readonly kept: number;
      readonly delayP99Ms: number;
      readonly delayMaxMs: number;
    }
  /** who owns an envoy that is not ours; answered with the JSON of a signed grant, empty when nobody knows */
  | { readonly kind: 'owner'; readonly id: number; readonly envoyId: string; readonly wrongAudience: boolean }
  | FromStream
  | Forwarded;

/** Upper bounds of the check-in duration histogram, seconds (server.md §12.1: 50 µs … 1 s). */
export const DURATION_BUCKETS = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1] as const;
