/** Installed packages with versions. */
import type { TraitCollector } from './collector.ts';

export const packages: TraitCollector = {
  name: 'packages',
  refresh: 'stable',
  async collect({ platform }) {
    if (platform.packages === undefined) return undefined;
    const installed = await platform.packages.list();
    return { manager: platform.packages.name, count: Object.keys(installed).length, installed };
  },
};
