/** Seconds since boot and the boot moment. */

import type { TraitCollector } from './collector.ts';
import { fileValue } from './sources.ts';

export const uptime: TraitCollector = {
  name: 'uptime',
  refresh: 'volatile',
  async collect({ system }) {
    const seconds = Math.floor(Number((await fileValue(system, '/proc/uptime'))?.split(' ')[0]));
    if (!Number.isFinite(seconds)) return undefined;
    const boot = /^btime (\d+)$/m.exec((await fileValue(system, '/proc/stat')) ?? '')?.[1];
    const bootSeconds = boot === undefined ? Math.floor(system.now() / 1_000) - seconds : Number(boot);
    return { seconds, boot_time: new Date(bootSeconds * 1_000).toISOString().replace('.000Z', 'Z') };
  },
};
