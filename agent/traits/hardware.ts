/** Small summary of CPU count, memory and disk sizes. */

import type { TraitCollector } from './collector.ts';
import { dataMounts, fileText, isNetworkMount, memoryFacts, tenth } from './sources.ts';

const GIB = 1024 ** 3;

export const hardware: TraitCollector = {
  name: 'hardware',
  refresh: 'stable',
  async collect({ system }) {
    const processors = ((await fileText(system, '/proc/cpuinfo')) ?? '').split('\n').filter((line) => /^processor\s*:/.test(line));
    const disks: [string, number][] = [];
    for (const mount of await dataMounts(system)) {
      if (isNetworkMount(mount)) continue;
      try {
        const { total } = await system.space(mount.path);
        if (total > 0) disks.push([mount.path, tenth(total / GIB)]);
      } catch {
        // a mount that cannot be asked is left out
      }
    }
    return {
      cpu_count: processors.length,
      memory_mb: Math.floor(((await memoryFacts(system)).get('MemTotal') ?? 0) / 1024 ** 2),
      disk_gb: Object.fromEntries(disks),
    };
  },
};
