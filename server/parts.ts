/** What a running server consists of; REST handlers, roles and tests take what they need of it. */

import type { RenewReply, RenewRequest } from '../core/api/enroll.ts';
import type { Clock } from '../core/base/clock.ts';
import type { Logger } from '../core/base/log.ts';
import type { Redactor } from '../core/base/redaction.ts';
import type { TlsIdentity } from '../core/crypto/tls.ts';
import type { Checkpointer } from './audit/checkpoint.ts';
import type { AuditTrail } from './audit/trail.ts';
import type { EnvoyCreation } from './enroll/creation.ts';
import type { Enrollment } from './enroll/enroll.ts';
import type { TokenDesk } from './enroll/token-desk.ts';
import type { EnrollTokens } from './enroll/tokens.ts';
import type { FleetIndex } from './fleet/fleet-index.ts';
import type { Ownership } from './fleet/ownership.ts';
import type { RunIntake } from './fleet/run-intake.ts';
import type { DataPaths } from './identity/paths.ts';
import type { Revocations } from './identity/revocations.ts';
import type { ServerIdentity } from './identity/server-identity.ts';
import type { Metrics } from './observe/metrics.ts';
import type { ReleaseSwitch } from './release-switch.ts';
import type { Authenticator } from './rpc/authenticate.ts';
import type { RpcThreads } from './rpc/rpc-threads.ts';
import type { SecretProvider } from './secrets/provider.ts';
import type { Settings } from './settings.ts';
import type { Store } from './store/store.ts';

export interface ServerParts {
  readonly version: string;
  readonly settings: Settings;
  readonly paths: DataPaths;
  readonly identity: ServerIdentity;
  readonly revocations: Revocations;
  readonly clock: Clock;
  readonly log: Logger;
  readonly redactor: Redactor;
  readonly metrics: Metrics;
  readonly store: Store;
  readonly trail: AuditTrail;
  readonly checkpointer: Checkpointer;
  readonly fleet: FleetIndex;
  readonly intake: RunIntake;
  readonly ownership: Ownership;
  readonly releases: ReleaseSwitch;
  readonly secrets: SecretProvider;
  readonly tokens: EnrollTokens;
  /** checks requests to enrol */
  readonly desk: TokenDesk;
  /** makes envoys */
  readonly creation: EnvoyCreation;
  readonly enrollment: Enrollment;
  readonly rpc: RpcThreads;
  /** for signed requests over REST (renewal, large bodies) */
  readonly authenticator: Authenticator;
  /** milliseconds since 1970 */
  readonly startedAt: number;
  /** host:port that agents dial */
  readonly advertised: string;
  /** certificate of the listeners, as it is now */
  tls(): TlsIdentity;
  /** ends the connections of an envoy and makes its session tickets useless */
  dropConnections(envoyId: string): void;
  renew(request: RenewRequest, address: string): Promise<RenewReply>;
}
