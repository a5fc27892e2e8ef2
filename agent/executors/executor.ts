/** An executor looks (`check`) and acts (`apply`); deciding, verifying, dry run, notify and timing belong to the engine. */
import type { z } from 'zod';
import type { Json } from '../../core/base/json.ts';
import type { Logger } from '../../core/base/log.ts';
import type { ResourceSpec } from '../../core/resources/define.ts';
import type { Platform } from '../platform/platform.ts';
import type { System } from '../system/system.ts';

/** One attribute that is not as wanted. `secret` keeps both values out of reports, diffs and logs. */
export interface Change {
  readonly attribute: string;
  readonly from: Json;
  readonly to: Json;
  readonly secret?: true;
}

/** What the engine reports when it acts: made from the changes unless the executor knows better. */
export type Verb = 'created' | 'updated' | 'deleted';

export interface ExecutorContext {
  readonly system: System;
  readonly platform: Platform;
  readonly traits: Readonly<Record<string, Json>>;
  /** names of the resources whose change triggered this one; empty in pass 1 */
  readonly notifiedBy: readonly string[];
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** keeps what is at the path before it is changed or deleted (config.md §15.4); does nothing for sensitive resources */
  snapshot(path: string, action: 'updated' | 'deleted'): Promise<void>;
  /** remembers output for the report; redacted, cut to 16 KiB */
  output(text: string): void;
  readonly dryRun: boolean;
  readonly timeoutMs: number;
}

export interface Executor<S extends ResourceSpec = ResourceSpec> {
  readonly spec: S;
  /** Looks, never touches. No changes means "already as wanted". */
  check(want: z.output<S['attributes']>, context: ExecutorContext): Promise<readonly Change[]>;
  /** Makes exactly these changes. Never called in observe mode or dry run. */
  apply(want: z.output<S['attributes']>, changes: readonly Change[], context: ExecutorContext): Promise<void>;
  /** default: 'deleted' when state is absent, 'created' when a change of attribute `exists` goes from false to true, else 'updated' */
  verb?(want: z.output<S['attributes']>, changes: readonly Change[]): Verb;
  /** true: apply leaves nothing that a second check could see (exec, restart); the engine skips verify-after */
  readonly eventful?: (want: z.output<S['attributes']>) => boolean;
}

export function defineExecutor<S extends ResourceSpec>(spec: S, behaviour: Omit<Executor<S>, 'spec'>): Executor<S> {
  return { spec, ...behaviour };
}
