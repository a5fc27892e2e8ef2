/** How the envoys of a site do, for a rollout by ring. */
import type { FleetIndex } from '../../fleet/fleet-index.ts';
import { releaseHealth } from '../kinds/releases.ts';
import { type Answer, answers } from '../link.ts';

const BAD: readonly string[] = ['failed', 'degraded', 'diverged'];

export function answerReleaseHealth(site: { readonly fleet: FleetIndex; serving(): number }): Answer {
  return answers(releaseHealth, async () => {
    const counts = { serving: site.serving(), envoys: 0, good: 0, silent: 0, reached: 0 };
    for (const slot of site.fleet.slots()) {
      const { active, state, release } = site.fleet.view(slot);
      if (!active) continue;
      counts.envoys++;
      if (state === 'offline') counts.silent++;
      else if (!BAD.includes(state)) counts.good++;
      if (release === counts.serving) counts.reached++;
    }
    return counts;
  });
}
