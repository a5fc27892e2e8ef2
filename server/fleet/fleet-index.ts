/** The fleet in memory, owned by the main thread: who is enrolled, what each envoy holds and how it does. The database follows behind (flusher.ts). */
import { type EnvoyId, idBytes, idText } from '../../core/base/ids.ts';
import type { EnvoyIdentity, EnvoyRow, EnvoyVolatile } from '../store/store.ts';
import { CONTROL, CONTROL64, Columns, createFleetMemory, FLAG, type FleetMemory, MAX_SLOTS, PERSISTED_FLAGS } from './columns.ts';
import { type ConvergenceRecord, DRIFTS, type EnvoyState, RUN_STATES } from './convergence.ts';
import { addToTable, findSlot } from './id-table.ts';

const DETAILS = ['', 'blocked', 'repeated'] as const;
const ZERO = '0'.repeat(64);
const STATUS_FLAG = { active: FLAG.active, revoked: FLAG.revoked, departed: FLAG.departed, pending: 0 } as const;

/** One envoy as seen now; made on demand. */
export interface EnvoyView extends EnvoyVolatile {
  readonly hostname: string;
  readonly state: EnvoyState;
  readonly active: boolean;
  readonly revoked: boolean;
  /** another site owns it */
  readonly departed: boolean;
  /** index of its entry in the live release, -1 without a match */
  readonly entry: number;
}

function hexAt(column: Uint8Array, slot: number): string {
  const hex = Buffer.from(column.buffer, slot * 32, 32).toString('hex');
  return hex === ZERO ? '' : hex;
}

function setHex(column: Uint8Array, slot: number, hex: string): void {
  if (hex === '') column.fill(0, slot * 32, slot * 32 + 32);
  else column.set(Buffer.from(hex, 'hex').subarray(0, 32), slot * 32);
}

export class FleetIndex {
  readonly memory: FleetMemory;
  readonly columns: Columns;
  readonly #hostnames: string[] = [];
  readonly #byHostname = new Map<string, number>();

  constructor(slots = 1024) {
    this.memory = createFleetMemory(slots);
    this.columns = new Columns(this.memory);
  }

  get size(): number {
    return Atomics.load(this.columns.control, CONTROL.count);
  }

  /** bytes of all columns and the table */
  get bytes(): number {
    return Object.values(this.memory).reduce((sum, buffer) => sum + buffer.byteLength, 0);
  }

  /** The slot of an id, or -1. */
  slotOf(id: string): number {
    return findSlot(this.columns, idBytes(id));
  }

  /** The slot that holds a hostname (the active one), or -1. */
  slotOfHostname(hostname: string): number {
    return this.#byHostname.get(hostname) ?? -1;
  }

  hostname(slot: number): string {
    return this.#hostnames[slot] ?? '';
  }

  /** Adds an envoy, or changes key and status of one that is there. */
  insert(envoy: Pick<EnvoyIdentity, 'id' | 'hostname' | 'identityKey' | 'status' | 'ownerEpoch'>): number {
    const id = idBytes(envoy.id);
    const known = findSlot(this.columns, id);
    const slot = known >= 0 ? known : this.size;
    const { columns } = this;
    if (known < 0) {
      if (slot >= MAX_SLOTS) throw new RangeError(`the fleet index is full at ${MAX_SLOTS} envoys`);
      if (slot >= columns.control[CONTROL.capacity]!) columns.grow(Math.min(MAX_SLOTS, columns.control[CONTROL.capacity]! * 2));
      columns.id.set(id, slot * 16);
      columns.entries[0][slot] = -1;
      columns.entries[1][slot] = -1;
      columns.resetPending[slot] = 1;
    }
    columns.key.set(envoy.identityKey, slot * 32);
    columns.ownerEpoch[slot] = envoy.ownerEpoch;
    Atomics.store(columns.flags, slot, STATUS_FLAG[envoy.status]);
    this.#hostnames[slot] = envoy.hostname;
    if (envoy.status === 'active' || (envoy.status !== 'departed' && !this.#byHostname.has(envoy.hostname)))
      this.#byHostname.set(envoy.hostname, slot);
    if (known < 0) {
      Atomics.store(columns.control, CONTROL.count, slot + 1);
      addToTable(columns, slot, slot + 1);
    }
    return slot;
  }

  load(row: EnvoyRow): void {
    const slot = this.insert(row);
    const { columns } = this;
    columns.sequence[slot] = BigInt(row.sequence);
    columns.lastSeen[slot] = row.lastSeen;
    columns.release[slot] = row.release;
    columns.heldSeq[slot] = row.heldSeq;
    columns.secretsEpoch[slot] = row.secretsEpoch;
    setHex(columns.policyHash, slot, row.policyHash);
    setHex(columns.headerHash, slot, row.heldHeaderHash);
    setHex(columns.traitsHash, slot, row.traitsHash);
    Atomics.or(columns.flags, slot, row.flags & PERSISTED_FLAGS);
    this.setConvergence(slot, row);
    columns.dirty[slot] = 0;
  }

  setConvergence(slot: number, record: ConvergenceRecord): void {
    const { columns } = this;
    columns.runState[slot] = RUN_STATES.indexOf(record.runState);
    columns.detail[slot] = DETAILS.indexOf(record.detail);
    columns.streak[slot] = Math.min(255, record.streak);
    columns.drift[slot] = DRIFTS.indexOf(record.drift);
    columns.clean[slot] = record.clean ? 1 : 0;
    columns.resetPending[slot] = record.resetPending ? 1 : 0;
    setHex(columns.countedPolicy, slot, record.countedPolicy);
    columns.countedEpoch[slot] = record.countedEpoch;
    columns.countedAt[slot] = record.countedAt;
    columns.dirty[slot] = 1;
  }

  view(slot: number): EnvoyView {
    const { columns } = this;
    const flags = Atomics.load(columns.flags, slot);
    const runState = RUN_STATES[columns.runState[slot]!]!;
    const generation = Atomics.load(columns.control, CONTROL.generation);
    return {
      id: idText(columns.id, slot * 16),
      hostname: this.hostname(slot),
      sequence: Number(Atomics.load(columns.sequence, slot)),
      lastSeen: columns.lastSeen[slot]!,
      release: columns.release[slot]!,
      policyHash: hexAt(columns.policyHash, slot),
      secretsEpoch: columns.secretsEpoch[slot]!,
      heldSeq: columns.heldSeq[slot]!,
      heldHeaderHash: hexAt(columns.headerHash, slot),
      traitsHash: hexAt(columns.traitsHash, slot),
      flags,
      runState,
      detail: DETAILS[columns.detail[slot]!]!,
      streak: columns.streak[slot]!,
      drift: DRIFTS[columns.drift[slot]!]!,
      clean: columns.clean[slot] === 1,
      resetPending: columns.resetPending[slot] === 1,
      countedPolicy: hexAt(columns.countedPolicy, slot),
      countedEpoch: columns.countedEpoch[slot]!,
      countedAt: columns.countedAt[slot]!,
      state: (flags & FLAG.offline) !== 0 && runState !== 'no_data' ? 'offline' : runState,
      active: (flags & FLAG.active) !== 0,
      revoked: (flags & FLAG.revoked) !== 0,
      departed: (flags & FLAG.departed) !== 0,
      entry: columns.entries[generation & 1]![slot]!,
    };
  }

  get(id: EnvoyId): EnvoyView | undefined {
    const slot = this.slotOf(id);
    return slot < 0 ? undefined : this.view(slot);
  }

  /** Revoked at once for every thread: the next request of that envoy is refused. */
  revoke(slot: number): void {
    Atomics.and(this.columns.flags, slot, ~FLAG.active);
    Atomics.or(this.columns.flags, slot, FLAG.revoked);
    if (this.#byHostname.get(this.hostname(slot)) === slot) this.#byHostname.delete(this.hostname(slot));
  }

  /** Not ours any more, at once for every thread. */
  depart(slot: number): void {
    Atomics.and(this.columns.flags, slot, ~(FLAG.active | FLAG.arrived | FLAG.offline));
    Atomics.or(this.columns.flags, slot, FLAG.departed);
    if (this.#byHostname.get(this.hostname(slot)) === slot) this.#byHostname.delete(this.hostname(slot));
  }

  /** Ours, but not seen yet. */
  arrive(slot: number): void {
    Atomics.or(this.columns.flags, slot, FLAG.arrived);
  }

  hasArrived(slot: number): boolean {
    return (Atomics.load(this.columns.flags, slot) & FLAG.arrived) !== 0;
  }

  /** Another site accepted requests up to this one. */
  raiseSequence(slot: number, sequence: number): void {
    const { sequence: column, dirty } = this.columns;
    const wanted = BigInt(sequence);
    for (;;) {
      const held = Atomics.load(column, slot);
      if (held >= wanted) return;
      if (Atomics.compareExchange(column, slot, held, wanted) === held) break;
    }
    dirty[slot] = 1;
  }

  /** While fenced, nobody is served: the hub gave this site's envoys to others. */
  set fenced(on: boolean) {
    Atomics.store(this.columns.control, CONTROL.fenced, on ? 1 : 0);
  }

  get fenced(): boolean {
    return Atomics.load(this.columns.control, CONTROL.fenced) === 1;
  }

  /** The next answer to this envoy is a whole bundle. */
  forcePush(slot: number): void {
    Atomics.or(this.columns.flags, slot, FLAG.forcePush);
    this.columns.resetPending[slot] = 1;
  }

  /** Marks those silent for longer than `silentMs` offline, the others online. Answers the slots that changed. */
  judgeSilence(now: number, silentMs: number): { readonly offline: readonly number[]; readonly online: readonly number[] } {
    const offline: number[] = [];
    const online: number[] = [];
    const { flags, lastSeen } = this.columns;
    for (let slot = 0, count = this.size; slot < count; slot++) {
      // one that never came is not silent yet
      if (lastSeen[slot] === 0) continue;
      const silent = now - lastSeen[slot]! > silentMs;
      const was = (flags[slot]! & FLAG.offline) !== 0;
      if (silent === was || (flags[slot]! & FLAG.active) === 0) continue;
      if (silent) Atomics.or(flags, slot, FLAG.offline);
      else Atomics.and(flags, slot, ~FLAG.offline);
      (silent ? offline : online).push(slot);
    }
    return { offline, online };
  }

  /** Fills the entry column of a generation that is not live yet. */
  assignEntries(generation: number, entryOf: (hostname: string) => number): void {
    const column = this.columns.entries[generation & 1]!;
    for (let slot = 0, count = this.size; slot < count; slot++) column[slot] = entryOf(this.hostname(slot));
  }

  assignEntry(slot: number, entry: number): void {
    const generation = Atomics.load(this.columns.control, CONTROL.generation);
    this.columns.entries[generation & 1]![slot] = entry;
  }

  get generation(): number {
    return Atomics.load(this.columns.control, CONTROL.generation);
  }

  /** From this moment every check-in is answered from the new release table. */
  switchTo(generation: number): void {
    Atomics.store(this.columns.control, CONTROL.generation, generation);
  }

  /** Up to `max` envoys changed since they were last taken. */
  takeDirty(max: number): EnvoyVolatile[] {
    const batch: EnvoyVolatile[] = [];
    const { dirty } = this.columns;
    const bytes = Buffer.from(dirty.buffer, 0, this.size);
    for (let slot = bytes.indexOf(1); slot >= 0 && batch.length < max; slot = bytes.indexOf(1, slot + 1)) {
      dirty[slot] = 0;
      batch.push(this.view(slot));
    }
    return batch;
  }

  /** Puts back what could not be saved. */
  markDirty(id: string): void {
    const slot = this.slotOf(id);
    if (slot >= 0) this.columns.dirty[slot] = 1;
  }

  get dirtyCount(): number {
    let count = 0;
    const { dirty } = this.columns;
    for (let slot = 0; slot < this.size; slot++) count += dirty[slot]!;
    return count;
  }

  get lastIssuedSeq(): number {
    return Number(Atomics.load(this.columns.control64, CONTROL64.lastIssuedSeq));
  }

  set lastIssuedSeq(value: number) {
    Atomics.store(this.columns.control64, CONTROL64.lastIssuedSeq, BigInt(value));
  }

  /** Those that this site owns or may come to own. */
  *slots(): Iterable<number> {
    for (let slot = 0, count = this.size; slot < count; slot++) if ((this.columns.flags[slot]! & FLAG.departed) === 0) yield slot;
  }
}
