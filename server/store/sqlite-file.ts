/** Opens the SQLite file. An existing file that is no database is an error: it is never replaced by an empty one. */
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { CodedError } from '../../core/base/errors.ts';
import { translated } from './failures.ts';

const HEADER = 'SQLite format 3\0';
/** A full check of a larger file would take longer than a start may; pages are checked as they are read. */
const CHECK_UP_TO_BYTES = 256 * 1024 * 1024;

function damaged(path: string, what: string, cause?: unknown): CodedError {
  return new CodedError('STATE_DAMAGED', `the database ${path} ${what}`, {
    hint: `move ${path} (and its -wal and -shm files) aside and restore the newest file of backups/; nothing is recreated by itself`,
    cause,
  });
}

function assertHeader(path: string): void {
  const head = Buffer.alloc(16);
  const file = openSync(path, 'r');
  try {
    const size = readSync(file, head, 0, 16, 0);
    if (size === 0) throw damaged(path, 'is empty');
    if (head.toString('latin1') !== HEADER) throw damaged(path, 'is not an SQLite file');
  } finally {
    closeSync(file);
  }
}

/** `create`: only `vigosrv init` makes a database; everybody else needs the one that is there. */
export function openSqliteFile(path: string, options: { create: boolean; busyTimeoutMs: number }): Sqlite.Database {
  const exists = existsSync(path);
  if (exists) assertHeader(path);
  else if (existsSync(`${path}-wal`)) throw damaged(path, 'is missing, while its write-ahead log is there');
  else if (!options.create) throw damaged(path, 'is missing');
  try {
    const db = new Sqlite(path, { timeout: options.busyTimeoutMs, fileMustExist: exists });
    if (exists && statSync(path).size <= CHECK_UP_TO_BYTES) {
      const found = db.pragma('quick_check(1)', { simple: true });
      if (found !== 'ok') throw damaged(path, `does not hold together: ${String(found)}`);
    }
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.pragma('foreign_keys = ON');
    return db;
  } catch (thrown) {
    const known = translated(thrown);
    if (known instanceof CodedError && known.code === 'STATE_DAMAGED' && known !== thrown) throw damaged(path, 'does not open', thrown);
    if (known instanceof CodedError) throw known;
    throw new CodedError('DATABASE_FAILED', `the database ${path} does not open`, { cause: thrown });
  }
}
