/** Looks at an LMDB file before it is mapped: a truncated or foreign file would kill the process instead of giving an error. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';

const MAGIC = 0xbeefc0de;
/**
 * mdb.c as lmdb-js builds it: page header 24 bytes (a page number and a transaction number come first), then MDB_meta {magic, version, address, mapsize,
 * dbs[2] of 48 bytes, last_pg, txnid}; md_pad of dbs[0] is the page size.
 */
const META = { magic: 24, pageSize: 48, lastPage: 144, bytes: 160 } as const;

function damaged(dir: string, why: string): CodedError {
  return new CodedError('STATE_DAMAGED', `the state store ${dir} is damaged: ${why}`, {
    hint: `nothing was changed. To start again from the server's policy, stop the agent and run: mv ${dir} ${dir}.damaged`,
  });
}

/** @throws CodedError STATE_DAMAGED */
export function assertIntactLmdb(dir: string): void {
  const file = join(dir, 'data.mdb');
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw new CodedError('STATE_DAMAGED', `the state store ${dir} cannot be read`, { cause });
  }
  try {
    const { size } = fstatSync(fd);
    if (size === 0) throw damaged(dir, 'data.mdb is empty');
    const first = Buffer.alloc(META.bytes);
    if (readSync(fd, first, 0, META.bytes, 0) < META.bytes || first.readUInt32LE(META.magic) !== MAGIC)
      throw damaged(dir, 'data.mdb is not an LMDB file');
    const pageSize = first.readUInt32LE(META.pageSize);
    const second = Buffer.alloc(META.bytes);
    const hasSecond = readSync(fd, second, 0, META.bytes, pageSize) === META.bytes && second.readUInt32LE(META.magic) === MAGIC;
    if (!hasSecond) throw damaged(dir, 'the second meta page is gone');
    const lastPage = Math.max(Number(first.readBigUInt64LE(META.lastPage)), Number(second.readBigUInt64LE(META.lastPage)));
    if ((lastPage + 1) * pageSize > size) throw damaged(dir, `data.mdb has ${size} bytes, ${(lastPage + 1) * pageSize} are in use`);
  } finally {
    closeSync(fd);
  }
}

export function storeFull(dir: string, why: string, cause?: unknown): CodedError {
  return new CodedError('STORE_FULL', `the state store ${dir} has no room left: ${why}`, { cause, hint: 'free space on that file system' });
}

/** An error of LMDB while reading or writing, in our words. */
export function stateFailure(dir: string, thrown: unknown): CodedError {
  if (thrown instanceof CodedError) return thrown;
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  if (/ENOSPC|MDB_MAP_FULL|No space left/i.test(text)) return storeFull(dir, text, thrown);
  return new CodedError('STATE_DAMAGED', `the state store ${dir} fails: ${text}`, {
    cause: thrown,
    hint: `to start again from the server's policy, stop the agent and run: mv ${dir} ${dir}.damaged`,
  });
}
