/** The memory of reverts, in memory. */
import type { StateStore } from '../../agent/state/state-store.ts';

export function memoryFacts(): StateStore['memory'] & { readonly rows: Map<string, string> } {
  const rows = new Map<string, string>();
  return {
    rows,
    get: (key) => rows.get(key),
    async set(key, value) {
      if (value === undefined) rows.delete(key);
      else rows.set(key, value);
    },
  };
}
