/** What moves need of the rest of a hub. */
import type { Clock } from '../core/base/clock.ts';
import type { Logger } from '../core/base/log.ts';
import type { SignedRecord } from '../core/crypto/delegation.ts';
import type { SigningKey } from '../core/crypto/ed25519.ts';
import type { AuditTrail } from '../server/audit/trail.ts';
import type { AtFailpoint } from '../server/failpoints.ts';
import type { Metrics } from '../server/observe/metrics.ts';
import type { LinkSession } from '../server/spanner/link.ts';
import type { Store } from '../server/store/store.ts';

/** A site that may own envoys; the hub's own is one of them. */
export interface MoveSite {
  readonly id: string;
  /** host:port that agents dial */
  readonly addr: string;
  readonly fallback: readonly string[];
  readonly apiUrl: string;
  readonly state: string;
}

export interface MoveSites {
  list(): readonly MoveSite[];
  get(siteId: string): MoveSite | undefined;
  session(siteId: string): LinkSession | undefined;
}

/** Signs grants; the delegation may be renewed while the hub runs. */
export interface GrantAuthority {
  readonly fleetId: string;
  readonly rootPublicKey: Uint8Array;
  readonly serverKey: SigningKey;
  readonly delegation: SignedRecord;
}

export interface HubMoveParts {
  readonly store: Store;
  readonly trail: Pick<AuditTrail, 'record'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: Metrics | undefined;
  readonly random: () => number;
  readonly sites: MoveSites;
  readonly authority: () => GrantAuthority;
  readonly revokedSerials: () => ReadonlySet<string>;
  /** host:port of the hub, which can tell every owner */
  readonly hubAddr: () => string;
  readonly failpoint?: AtFailpoint | undefined;
}
