/** One collector a subject; one that fails is logged and left out (spec of paths: core/traits/catalogue.ts). */
import type { Json } from '../../core/base/json.ts';
import type { Platform } from '../platform/platform.ts';
import type { System } from '../system/system.ts';

/** volatile = every cycle; stable = every `--trait-refresh-cycles`; periodic = hourly */
export type Refresh = 'volatile' | 'stable' | 'periodic';

export interface CollectorContext {
  readonly system: System;
  readonly platform: Platform;
  /** facts of the enrolment, for `identity` */
  readonly envoy: { readonly id: string | undefined; readonly hostname: string | undefined; readonly environment: string | undefined };
  readonly signal: AbortSignal;
}

export interface TraitCollector {
  readonly name: string;
  readonly refresh: Refresh;
  /** default 5,000 */
  readonly timeoutMs?: number;
  /** undefined: nothing to say on this machine */
  collect(context: CollectorContext): Promise<Json | undefined>;
}
