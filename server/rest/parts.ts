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
import type { secretRefSchema } from '../../core/api/secrets.ts';
import type { Json } from '../../core/base/json.ts';
import { ApiTokens } from '../access/api-tokens.ts';
import type { Principal } from '../access/permissions.ts';
import type { ServerParts } from '../parts.ts';

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

/** The server's parts, and what REST adds to them. */
export interface RestParts extends ServerParts {
  readonly apiTokens: ApiTokens;
  readonly config: ConfigPort;
  /** asks over the envoy's stream for an early check-in; false without a stream */
  push(envoyId: string): boolean;
}

/** @param push until there are streams, every push waits for the next check-in */
export function restParts(server: ServerParts, config: ConfigPort, push: (envoyId: string) => boolean = () => false): RestParts {
  const { max_ttl: maxTtlMs, max_per_user: maxPerUser } = server.settings.auth.api_tokens;
  return {
    ...server,
    config,
    push,
    apiTokens: new ApiTokens({ store: server.store, trail: server.trail, clock: server.clock, maxTtlMs, maxPerUser }),
  };
}
