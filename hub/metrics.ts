/** What a scrape of the hub says of its spokes. */
import type { Metrics } from '../server/observe/metrics.ts';
import { heartbeatSchema } from '../server/spanner/site/heartbeat.ts';
import type { Sites } from './sites.ts';

export function observeSpokes(metrics: Metrics, sites: Sites): void {
  metrics.onCollect(() => {
    for (const name of [
      'vigo_spoke_up',
      'vigo_spoke_link_rtt_seconds',
      'vigo_spoke_clock_offset_seconds',
      'vigo_spoke_envoys',
      'vigo_spoke_convergence_pct',
    ] as const)
      metrics.reset(name);
    let up = 0;
    for (const { id, own, link } of sites.list()) {
      if (own) continue;
      const { session } = link;
      const isUp = session?.isOpen === true;
      up += isUp ? 1 : 0;
      metrics.set('vigo_spoke_up', isUp ? 1 : 0, { spoke: id });
      if (isUp && session.rttMs !== undefined) metrics.set('vigo_spoke_link_rtt_seconds', session.rttMs / 1000, { spoke: id });
      if (isUp && link.clockOffsetMs !== undefined)
        metrics.set('vigo_spoke_clock_offset_seconds', link.clockOffsetMs / 1000, { spoke: id });
      const said = heartbeatSchema.safeParse(link.heartbeat);
      if (!isUp || !said.success) continue; // an old figure is no figure
      const { envoys, converged, no_data: noData } = said.data;
      metrics.set('vigo_spoke_envoys', envoys, { spoke: id });
      if (envoys > noData) metrics.set('vigo_spoke_convergence_pct', converged / (envoys - noData), { spoke: id });
    }
    metrics.set('vigo_connections', up, { kind: 'spoke' });
  });
}
