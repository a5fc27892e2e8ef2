/** One process a data directory: an exclusive lock that the kernel drops when its holder dies. */
import Database from 'better-sqlite3';
import { CodedError } from '../core/base/errors.ts';

export interface DataLock {
  release(): void;
}

/** Node has no advisory locks of its own; SQLite's are the same fcntl locks. @throws CodedError DATA_DIR_LOCKED */
export function lockDataDirectory(file: string): DataLock {
  const database = new Database(file, { timeout: 0 });
  try {
    database.pragma('journal_mode = DELETE');
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    throw new CodedError('DATA_DIR_LOCKED', `another server holds ${file}`, { cause, hint: 'only one process may use a data directory' });
  }
  return { release: () => void database.close() };
}
