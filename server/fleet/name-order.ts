/** Slots of the fleet in the order of host names: what a hub merges the lists of its sites by. */
import type { FleetIndex } from './fleet-index.ts';

interface Known {
  readonly size: number;
  readonly slots: Uint32Array;
}

const ORDERS = new WeakMap<FleetIndex, Known>();

function isBefore(fleet: FleetIndex, a: number, b: number): boolean {
  const [left, right] = [fleet.hostname(a), fleet.hostname(b)];
  return left === right ? a < b : left < right;
}

/** Slots are only ever added and keep their names: what is new is sorted and merged into what is known. */
export function slotsByName(fleet: FleetIndex): Uint32Array {
  const known = ORDERS.get(fleet) ?? { size: 0, slots: new Uint32Array() };
  const { size } = fleet;
  if (known.size === size) return known.slots;
  const fresh = Array.from({ length: size - known.size }, (_, i) => known.size + i).sort((a, b) => (isBefore(fleet, a, b) ? -1 : 1));
  const slots = new Uint32Array(size);
  for (let at = 0, old = 0, added = 0; at < size; at++) {
    const isOld = old < known.size && (added >= fresh.length || isBefore(fleet, known.slots[old]!, fresh[added]!));
    slots[at] = isOld ? known.slots[old++]! : fresh[added++]!;
  }
  ORDERS.set(fleet, { size, slots });
  return slots;
}

/** Place behind this slot in the order; 0 for a slot below 0. */
export function placeAfter(fleet: FleetIndex, order: Uint32Array, slot: number): number {
  if (slot < 0) return 0;
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = order[middle]!;
    if (at === slot || isBefore(fleet, at, slot)) low = middle + 1;
    else high = middle;
  }
  return low;
}
