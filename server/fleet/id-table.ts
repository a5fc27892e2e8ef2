/** Envoy id → slot: open addressing over shared memory. The owner writes, any thread reads; a version that is odd while the table is rebuilt keeps readers honest. */
import { CONTROL, type Columns } from './columns.ts';

/** UUID v7 begins with the time: its last four bytes are the random ones. */
function hashOf(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset + 12]! << 24) | (bytes[offset + 13]! << 16) | (bytes[offset + 14]! << 8) | bytes[offset + 15]!) >>> 0;
}

function sameId(columns: Columns, slot: number, id: Uint8Array): boolean {
  const at = slot * 16;
  for (let i = 15; i >= 0; i--) if (columns.id[at + i] !== id[i]) return false;
  return true;
}

/** Cells hold slot + 1, so that zero means empty. */
function probe(columns: Columns, id: Uint8Array): number {
  const mask = Atomics.load(columns.control, CONTROL.tableMask);
  for (let cell = hashOf(id, 0) & mask; ; cell = (cell + 1) & mask) {
    const slot = Atomics.load(columns.table, cell) - 1;
    if (slot < 0) return -1;
    if (sameId(columns, slot, id)) return slot;
  }
}

/** The slot of a 16-byte id, or -1. */
export function findSlot(columns: Columns, id: Uint8Array): number {
  for (;;) {
    const version = Atomics.load(columns.control, CONTROL.tableVersion);
    if ((version & 1) === 0) {
      const slot = probe(columns, id);
      if (Atomics.load(columns.control, CONTROL.tableVersion) === version) return slot;
    }
  }
}

function place(columns: Columns, slot: number): void {
  const mask = columns.control[CONTROL.tableMask]!;
  let cell = hashOf(columns.id, slot * 16) & mask;
  while (columns.table[cell] !== 0) cell = (cell + 1) & mask;
  Atomics.store(columns.table, cell, slot + 1);
}

/** Owner thread: the slot's id column is written already. Doubles the table above half full. */
export function addToTable(columns: Columns, slot: number, count: number): void {
  const size = columns.control[CONTROL.tableMask]! + 1;
  if (count * 2 <= size) {
    place(columns, slot);
    return;
  }
  Atomics.add(columns.control, CONTROL.tableVersion, 1);
  columns.memory.table.grow(size * 2 * 4);
  Atomics.store(columns.control, CONTROL.tableMask, size * 2 - 1);
  columns.table.fill(0);
  for (let other = 0; other < count; other++) place(columns, other);
  Atomics.add(columns.control, CONTROL.tableVersion, 1);
}
