/** What a site says of itself at every heartbeat of its link. */
import { z } from 'zod';
import type { JsonObject } from '../../../core/base/json.ts';
import { summarize } from '../../observe/fleet-metrics.ts';
import type { ServerParts } from '../../parts.ts';

export const heartbeatSchema = z.object({
  envoys: z.number(),
  offline: z.number(),
  converged: z.number(),
  no_data: z.number(),
  /** number of the live release, 0 without one */
  release: z.number(),
  pending: z.number(),
  version: z.string(),
});
export type HeartbeatBody = z.output<typeof heartbeatSchema>;

/** Counting walks over the whole index: at most this often. */
const FRESH_MS = 2_000;

export function heartbeatOf(parts: Pick<ServerParts, 'clock' | 'fleet' | 'releases' | 'version'>): () => JsonObject & HeartbeatBody {
  let counted: { readonly at: number; readonly body: JsonObject & HeartbeatBody } | undefined;
  return () => {
    const now = parts.clock.monotonic();
    if (counted !== undefined && now - counted.at < FRESH_MS) return counted.body;
    const { total, states, pending } = summarize(parts.fleet, parts.clock.now());
    const body = {
      envoys: total,
      offline: states['offline'] ?? 0,
      converged: states['converged'] ?? 0,
      no_data: states['no_data'] ?? 0,
      release: parts.releases.live?.number ?? 0,
      pending,
      version: parts.version,
    };
    counted = { at: now, body };
    return body;
  };
}
