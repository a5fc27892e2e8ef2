/** What the REST API stands on: the server's parts, each by the narrow side it needs. */
import type { z } from 'zod';
import type {
  configStatus,
  configTree,
  Finding,
  PublishResult,
  publishConfig,
  rollbackConfig,
  traceConfig,
  validateConfig,
} from '../../core/api/config.ts';
import type { RenewReply, RenewRequest } from '../../core/api/enroll.ts';
import type { secretRefSchema } from '../../core/api/secrets.ts';
import type { doctorCheckSchema } from '../../core/api/server.ts';
import type { Clock } from '../../core/base/clock.ts';
import type { Json } from '../../core/base/json.ts';
import type { Logger } from '../../core/base/log.ts';
import type { ApiTokens } from '../access/api-tokens.ts';
import type { Principal } from '../access/permissions.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { AuditFinding } from '../audit/verify.ts';
import type { Enrollment } from '../enroll/enroll.ts';
import type { EnrollTokens } from '../enroll/tokens.ts';
import type { FleetIndex } from '../fleet/fleet-index.ts';
import type { RunIntake } from '../fleet/run-intake.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { ReleaseSwitch } from '../release-switch.ts';
import type { Authenticator } from '../rpc/authenticate.ts';
import type { SecretProvider } from '../secrets/provider.ts';
import type { Store } from '../store/store.ts';

/** Publishing, as the API sees it (server/publish). */
export interface ConfigPort {
  status(): Promise<z.input<typeof configStatus.reply>>;
  validate(options: z.output<typeof validateConfig.body>): Promise<{ readonly root: string; readonly findings: readonly Finding[] }>;
  publish(options: z.output<typeof publishConfig.body>, author: Principal, requestId: string): Promise<PublishResult>;
  rollback(options: z.output<typeof rollbackConfig.body>, author: Principal, requestId: string): Promise<PublishResult>;
  /** undefined: no such release on disk */
  manifest(number: number): Promise<Json | undefined>;
  trace(query: z.output<typeof traceConfig.query>): Promise<z.input<typeof traceConfig.reply>>;
  tree(query: z.output<typeof configTree.query>): Promise<z.input<typeof configTree.reply>>;
  /** references of the live release and where they stand */
  secretRefs(): Promise<readonly Omit<z.input<typeof secretRefSchema>, 'missing'>[]>;
  /** a secret was set or removed: entries using it get a new epoch; answers how many envoys that concerns */
  secretChanged(path: string): Promise<number>;
}

export interface RestLimits {
  readonly bodyBytes: number;
  readonly perTokenPerSecond: number;
  readonly perAddressPerSecond: number;
  readonly enrollPerAddressPerMinute: number;
  readonly enrollPerSecond: number;
  readonly eventStreams: number;
  readonly eventStreamsPerUser: number;
}

export interface RestParts {
  readonly version: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: Store;
  readonly fleet: FleetIndex;
  readonly releases: Pick<ReleaseSwitch, 'live' | 'bodyOf' | 'entryOf' | 'environmentOf' | 'policyOf'>;
  /** for signed requests of agents */
  readonly authenticator: Authenticator;
  readonly trail: AuditTrail;
  readonly identity: ServerIdentity;
  readonly metrics: Metrics;
  readonly secrets: SecretProvider;
  readonly enrollment: Enrollment;
  readonly enrollTokens: EnrollTokens;
  readonly apiTokens: ApiTokens;
  readonly runs: RunIntake;
  readonly config: ConfigPort;
  renew(request: RenewRequest, address: string): Promise<RenewReply>;
  /** asks over the envoy's stream for an early check-in; false without a stream */
  push(envoyId: string): boolean;
  dropConnections(envoyId: string): void;
  verifyAudit(checkpoints: readonly string[]): Promise<{ readonly records: number; readonly findings: readonly AuditFinding[] }>;
  /** makes a checkpoint when there are newer records; answers the newest note */
  checkpoint(): Promise<string | undefined>;
  doctor(): Promise<readonly z.output<typeof doctorCheckSchema>[]>;
  /** why the server cannot serve; empty: it can */
  notReady(): readonly string[];
  readonly publicUrl: string;
  readonly tokenTtlMs: number;
  readonly metricsAccess: 'token' | 'network' | 'open';
  readonly limits: RestLimits;
}
