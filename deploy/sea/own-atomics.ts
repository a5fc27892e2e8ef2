/**
 * Node's Linux executable wants libatomic.so.1, which a plain Debian server does not have, for one function: an 8-byte compare and exchange.
 * This puts that function into the unused end of the code segment and takes the dependency out, so that the agent needs nothing installed.
 */

/** __atomic_compare_exchange(size, object, expected, desired, …) for size 8, System V calling convention; any other size stops the program (ud2). */
const CODE = Buffer.from(
  [
    '4883ff08', // cmp  rdi, 8
    '751b', //     jne  other
    '488b02', //   mov  rax, [rdx]
    '488b09', //   mov  rcx, [rcx]
    'f0480fb10e', // lock cmpxchg [rsi], rcx
    '7406', //     je   equal
    '488902', //   mov  [rdx], rax
    '31c0', //     xor  eax, eax
    'c3', //       ret
    'b801000000', // equal: mov eax, 1
    'c3', //       ret
    '9090', //     nop; nop
    '0f0b', //     other: ud2
  ].join(''),
  'hex',
);
const LIBRARY = 'libatomic.so.1';
const SYMBOL = '__atomic_compare_exchange';

const PT = { load: 1, dynamic: 2 } as const;
const DT = {
  needed: 1,
  pltRelSize: 2,
  strTab: 5,
  symTab: 6,
  rela: 7,
  relaSize: 8,
  jmpRel: 23,
  verSym: 0x6ffffff0,
  verNeed: 0x6ffffffe,
  verNeedCount: 0x6fffffff,
} as const;
const RELOCATIONS = new Set([6, 7]); // R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT
const EXECUTABLE = 1;
const WEAK = 2 << 4;

interface Segment {
  readonly at: number;
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

class Elf {
  readonly bytes: Buffer;
  readonly segments: readonly Segment[];

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    const table = this.u64(32);
    const entry = bytes.readUInt16LE(54);
    this.segments = Array.from({ length: bytes.readUInt16LE(56) }, (_, index) => {
      const at = table + index * entry;
      return {
        at,
        type: bytes.readUInt32LE(at),
        flags: bytes.readUInt32LE(at + 4),
        offset: this.u64(at + 8),
        address: this.u64(at + 16),
        size: this.u64(at + 32),
      };
    });
  }

  u64(at: number): number {
    return Number(this.bytes.readBigUInt64LE(at));
  }

  setU64(at: number, value: number): void {
    this.bytes.writeBigUInt64LE(BigInt(value), at);
  }

  /** file position of a memory address */
  position(address: number): number {
    const segment = this.segments.find((each) => each.type === PT.load && address >= each.address && address < each.address + each.size);
    if (segment === undefined) throw new Error(`no segment holds the address ${address.toString(16)}`);
    return segment.offset + address - segment.address;
  }

  text(at: number): string {
    return this.bytes.toString('latin1', at, this.bytes.indexOf(0, at));
  }

  *dynamic(): Generator<{ readonly at: number; readonly tag: number; readonly value: number }> {
    const segment = this.segments.find(({ type }) => type === PT.dynamic);
    for (let at = segment?.offset ?? 0; segment !== undefined && at < segment.offset + segment.size; at += 16) {
      const tag = this.u64(at);
      if (tag === 0) return;
      yield { at, tag, value: this.u64(at + 8) };
    }
  }

  dynamicValue(tag: number): number {
    for (const each of this.dynamic()) if (each.tag === tag) return each.value;
    throw new Error(`the executable has no dynamic entry ${tag}`);
  }
}

/** Writes the code behind the code segment, into the padding up to the next page; answers its address. */
function addCode(elf: Elf): number {
  const segment = elf.segments.find(({ type, flags }) => type === PT.load && (flags & EXECUTABLE) !== 0);
  if (segment === undefined) throw new Error('the executable has no code segment');
  const begin = Math.ceil((segment.offset + segment.size) / 16) * 16;
  const padding = elf.bytes.subarray(begin, begin + CODE.length);
  const isUsed = elf.segments.some(({ type, offset }) => type === PT.load && offset > segment.offset && offset < begin + CODE.length);
  const samePage = Math.floor((begin + CODE.length) / 4096) === Math.floor((segment.offset + segment.size) / 4096);
  if (isUsed || !samePage || padding.some((byte) => byte !== 0)) throw new Error('there is no room behind the code segment');
  CODE.copy(elf.bytes, begin);
  const size = begin + CODE.length - segment.offset;
  elf.setU64(segment.at + 32, size);
  elf.setU64(segment.at + 40, size);
  return segment.address + begin - segment.offset;
}

/** Points every use of the symbol at the address; the dynamic linker has nothing to look up any more. */
function bindSymbol(elf: Elf, address: number): void {
  const strings = elf.position(elf.dynamicValue(DT.strTab));
  const symbols = elf.position(elf.dynamicValue(DT.symTab));
  const versions = elf.position(elf.dynamicValue(DT.verSym));
  let bound = 0;
  const tables = [
    [DT.rela, DT.relaSize],
    [DT.jmpRel, DT.pltRelSize],
  ] as const;
  for (const [table, size] of tables) {
    const begin = elf.position(elf.dynamicValue(table));
    for (let at = begin; at < begin + elf.dynamicValue(size); at += 24) {
      const type = elf.bytes.readUInt32LE(at + 8);
      const index = elf.bytes.readUInt32LE(at + 12);
      const symbol = symbols + index * 24;
      if (index === 0 || elf.text(strings + elf.bytes.readUInt32LE(symbol)) !== SYMBOL) continue;
      if (!RELOCATIONS.has(type)) throw new Error(`${SYMBOL} is used in a way that is not known (${type})`);
      elf.setU64(elf.position(elf.u64(at)), address);
      elf.setU64(at + 8, 0);
      elf.bytes[symbol + 4] = (elf.bytes[symbol + 4]! & 0x0f) | WEAK;
      elf.bytes.writeUInt16LE(1, versions + index * 2);
      bound += 1;
    }
  }
  if (bound === 0) throw new Error(`${SYMBOL} is not used`);
}

/** Takes the library out of the list of needed ones, and out of the list of needed versions. */
function dropLibrary(elf: Elf): void {
  const strings = elf.position(elf.dynamicValue(DT.strTab));
  const entries = [...elf.dynamic()];
  const needed = entries.find(({ tag, value }) => tag === DT.needed && elf.text(strings + value) === LIBRARY)!;
  const count = entries.find(({ tag }) => tag === DT.verNeedCount)!;
  const first = entries.find(({ tag }) => tag === DT.verNeed)!;
  let before: number | undefined;
  for (let at = elf.position(first.value), index = 0; index < count.value; index += 1) {
    const next = elf.bytes.readUInt32LE(at + 12);
    if (elf.text(strings + elf.bytes.readUInt32LE(at + 4)) === LIBRARY) {
      if (elf.bytes.readUInt16LE(at + 2) !== 1) throw new Error(`more than ${SYMBOL} of ${LIBRARY} is needed`);
      if (before === undefined) elf.setU64(first.at + 8, first.value + next);
      else elf.bytes.writeUInt32LE(next === 0 ? 0 : elf.bytes.readUInt32LE(before + 12) + next, before + 12);
      elf.setU64(count.at + 8, count.value - 1);
      break;
    }
    before = at;
    at += next;
  }
  const end = entries.at(-1)!.at + 16;
  elf.bytes.copyWithin(needed.at, needed.at + 16, end + 16);
}

/** Changes the executable in place; false when it needs no libatomic. @throws Error when it needs it in a way that is not known */
export function bringOwnAtomics(bytes: Buffer): boolean {
  const isElf64 = bytes.readUInt32BE(0) === 0x7f454c46 && bytes[4] === 2 && bytes[5] === 1;
  if (!isElf64 || bytes.readUInt16LE(18) !== 62) return false; // not x86-64
  const elf = new Elf(bytes);
  const strings = elf.position(elf.dynamicValue(DT.strTab));
  const needs = [...elf.dynamic()].some(({ tag, value }) => tag === DT.needed && elf.text(strings + value) === LIBRARY);
  if (!needs) return false;
  bindSymbol(elf, addCode(elf));
  dropLibrary(elf);
  return true;
}
