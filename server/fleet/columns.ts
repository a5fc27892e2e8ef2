/** The fleet as columns over shared memory: every accepting thread sees the same bytes, nothing is garbage, a slot costs about 250 bytes. */

/** More slots than any site has; address space is reserved, memory is only used as slots fill. */
export const MAX_SLOTS = 1 << 20;

const WIDTHS = {
  id: 16,
  key: 32,
  sequence: 8,
  digest: 8,
  lastSeen: 8,
  flags: 4,
  entryA: 4,
  entryB: 4,
  release: 4,
  heldSeq: 8,
  secretsEpoch: 4,
  ownerEpoch: 4,
  policyHash: 32,
  headerHash: 32,
  traitsHash: 32,
  dirty: 1,
  runState: 1,
  detail: 1,
  streak: 1,
  drift: 1,
  clean: 1,
  resetPending: 1,
  countedEpoch: 4,
  countedAt: 8,
  countedPolicy: 32,
} as const;
export type ColumnName = keyof typeof WIDTHS;

/** What travels to a worker thread: the memory itself, nothing is copied. */
export type FleetMemory = Readonly<Record<ColumnName | 'control' | 'table', SharedArrayBuffer>>;

/** Places in the control block. */
export const CONTROL = { count: 0, capacity: 1, tableMask: 2, tableVersion: 3, generation: 4, open: 5, fenced: 6 } as const;
/** 64-bit places behind them (index into `control64`). */
export const CONTROL64 = { lastIssuedSeq: 4 } as const;

/** Bits of the `flags` column; the persisted part is {@link PERSISTED_FLAGS}. */
export const FLAG = {
  active: 1,
  revoked: 2,
  forcePush: 4,
  observing: 8,
  stale: 16,
  noPolicy: 32,
  held: 64,
  clockSkew: 128,
  offline: 256,
  /** another site owns it: it is answered with the way there */
  departed: 512,
  /** ours since a moment: the first accepted check-in tells the hub */
  arrived: 1024,
} as const;
export const PERSISTED_FLAGS = FLAG.observing | FLAG.stale | FLAG.noPolicy | FLAG.held;

function grown(width: number, slots: number): SharedArrayBuffer {
  return new SharedArrayBuffer(width * slots, { maxByteLength: width * MAX_SLOTS });
}

export function createFleetMemory(slots: number): FleetMemory {
  const columns = Object.fromEntries(Object.entries(WIDTHS).map(([name, width]) => [name, grown(width, slots)])) as Record<
    ColumnName,
    SharedArrayBuffer
  >;
  const tableSize = slots * 2;
  const memory = {
    ...columns,
    control: new SharedArrayBuffer(64),
    table: new SharedArrayBuffer(tableSize * 4, { maxByteLength: MAX_SLOTS * 8 }),
  };
  const control = new Int32Array(memory.control);
  control[CONTROL.capacity] = slots;
  control[CONTROL.tableMask] = tableSize - 1;
  return memory;
}

/** Typed views over the memory; they follow it as it grows. */
export class Columns {
  readonly id: Uint8Array;
  readonly key: Uint8Array;
  /** highest accepted request sequence; BigInt because it is compared and swapped between threads */
  readonly sequence: BigInt64Array;
  /** first 8 signature bytes of the newest request: an honest retry has the same */
  readonly digest: BigInt64Array;
  readonly lastSeen: Float64Array;
  readonly flags: Int32Array;
  /** index into the release's entries, -1 without a match; A and B take turns by generation */
  readonly entries: readonly [Int32Array, Int32Array];
  readonly release: Uint32Array;
  readonly heldSeq: Float64Array;
  readonly secretsEpoch: Uint32Array;
  /** the highest that a grant gave us for this envoy */
  readonly ownerEpoch: Uint32Array;
  readonly policyHash: Uint8Array;
  readonly headerHash: Uint8Array;
  readonly traitsHash: Uint8Array;
  readonly dirty: Uint8Array;
  readonly runState: Uint8Array;
  readonly detail: Uint8Array;
  readonly streak: Uint8Array;
  readonly drift: Uint8Array;
  readonly clean: Uint8Array;
  readonly resetPending: Uint8Array;
  readonly countedEpoch: Uint32Array;
  readonly countedAt: Float64Array;
  readonly countedPolicy: Uint8Array;
  readonly control: Int32Array;
  readonly control64: BigInt64Array;
  readonly table: Int32Array;
  readonly memory: FleetMemory;

  constructor(memory: FleetMemory) {
    this.memory = memory;
    this.id = new Uint8Array(memory.id);
    this.key = new Uint8Array(memory.key);
    this.sequence = new BigInt64Array(memory.sequence);
    this.digest = new BigInt64Array(memory.digest);
    this.lastSeen = new Float64Array(memory.lastSeen);
    this.flags = new Int32Array(memory.flags);
    this.entries = [new Int32Array(memory.entryA), new Int32Array(memory.entryB)];
    this.release = new Uint32Array(memory.release);
    this.heldSeq = new Float64Array(memory.heldSeq);
    this.secretsEpoch = new Uint32Array(memory.secretsEpoch);
    this.ownerEpoch = new Uint32Array(memory.ownerEpoch);
    this.policyHash = new Uint8Array(memory.policyHash);
    this.headerHash = new Uint8Array(memory.headerHash);
    this.traitsHash = new Uint8Array(memory.traitsHash);
    this.dirty = new Uint8Array(memory.dirty);
    this.runState = new Uint8Array(memory.runState);
    this.detail = new Uint8Array(memory.detail);
    this.streak = new Uint8Array(memory.streak);
    this.drift = new Uint8Array(memory.drift);
    this.clean = new Uint8Array(memory.clean);
    this.resetPending = new Uint8Array(memory.resetPending);
    this.countedEpoch = new Uint32Array(memory.countedEpoch);
    this.countedAt = new Float64Array(memory.countedAt);
    this.countedPolicy = new Uint8Array(memory.countedPolicy);
    this.control = new Int32Array(memory.control, 0, 8);
    this.control64 = new BigInt64Array(memory.control);
    this.table = new Int32Array(memory.table);
  }

  /** Only the owner thread grows: new bytes are zero, old ones stay where they are. */
  grow(slots: number): void {
    for (const [name, width] of Object.entries(WIDTHS)) this.memory[name as ColumnName].grow(width * slots);
    Atomics.store(this.control, CONTROL.capacity, slots);
  }
}
