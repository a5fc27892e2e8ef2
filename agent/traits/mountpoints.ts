/** Mounted file systems with their use. */

import type { Json } from '../../core/base/json.ts';
import type { System } from '../system/system.ts';
import type { TraitCollector } from './collector.ts';
import { dataMounts, isNetworkMount, type MountLine, tenth } from './sources.ts';

/** A network mount whose server is gone answers never. */
const NETWORK_MS = 1_000;

async function useOf(system: System, mount: MountLine): Promise<Record<string, Json>> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), isNetworkMount(mount) ? NETWORK_MS : 4_000);
  });
  try {
    const space = await Promise.race([system.space(mount.path), late]);
    if (space === undefined || space.total === 0) return {};
    const { total, used, free } = space;
    // as df counts: blocks kept back for root belong to neither side
    return { size_bytes: total, used_bytes: used, available_bytes: free, used_percent: tenth((used / Math.max(1, used + free)) * 100) };
  } catch {
    // unmounted meanwhile, or not for this account
    return {};
  } finally {
    clearTimeout(timer);
  }
}

export const mountpoints: TraitCollector = {
  name: 'mountpoints',
  refresh: 'volatile',
  async collect({ system }) {
    const mounts = await dataMounts(system);
    const entries = mounts.map(async (mount): Promise<[string, Json]> => {
      const { device, fstype, options } = mount;
      return [mount.path, { device, fstype, options, ...(await useOf(system, mount)) }];
    });
    return Object.fromEntries(await Promise.all(entries));
  },
};
