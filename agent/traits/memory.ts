/** RAM use. */

import type { TraitCollector } from './collector.ts';
import { memoryFacts, tenth } from './sources.ts';

export const memory: TraitCollector = {
  name: 'memory',
  refresh: 'volatile',
  async collect({ system }) {
    const facts = await memoryFacts(system);
    const total = facts.get('MemTotal');
    if (total === undefined || total === 0) return undefined;
    const free = facts.get('MemFree') ?? 0;
    // kernels before 3.14 do not say what is available
    const available = facts.get('MemAvailable') ?? free + (facts.get('Buffers') ?? 0) + (facts.get('Cached') ?? 0);
    return {
      total_bytes: total,
      available_bytes: available,
      used_bytes: total - available,
      free_bytes: free,
      buffers_bytes: facts.get('Buffers') ?? 0,
      cached_bytes: facts.get('Cached') ?? 0,
      used_percent: tenth(((total - available) / total) * 100),
      total_mb: Math.floor(total / 1024 ** 2),
    };
  },
};
