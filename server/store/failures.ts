/** Failures of both databases in our words: what the operator must know is whether the file is damaged, the disk is full, or the database is away. */
import { CodedError, type ErrorCode } from '../../core/base/errors.ts';

const SQLITE: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^SQLITE_(CORRUPT|NOTADB)/, 'STATE_DAMAGED'],
  [/^SQLITE_FULL/, 'STORE_FULL'],
  [/^SQLITE_(BUSY|LOCKED|IOERR|CANTOPEN|READONLY|PROTOCOL|NOMEM)/, 'STORE_UNAVAILABLE'],
];

/** @see PostgreSQL documentation, appendix A: error codes */
const POSTGRES: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^XX00[12]$/, 'STATE_DAMAGED'],
  [/^53100$/, 'STORE_FULL'],
  [/^(08...|57P0.|57014|53...|25006|40...|55P03|E[A-Z]{3,})$/, 'STORE_UNAVAILABLE'],
];

const HINTS: Partial<Record<ErrorCode, string>> = {
  STATE_DAMAGED:
    'stop the server, keep the damaged file aside, and restore the newest backup (vigocli backup list); nothing is recreated by itself',
  STORE_FULL: 'free space on the volume of the database; what was not stored is sent again by the agents',
  STORE_UNAVAILABLE: 'the server keeps serving policies from memory and stores later; look at the database host and its log',
};

function codeOf(thrown: unknown): string {
  const code = typeof thrown === 'object' && thrown !== null ? (thrown as { code?: unknown }).code : undefined;
  return typeof code === 'string' ? code : '';
}

/** A coded error where the cause is known, else the thing itself. */
export function translated(thrown: unknown): unknown {
  if (thrown instanceof CodedError) return thrown;
  const code = codeOf(thrown);
  const known = (code.startsWith('SQLITE_') ? SQLITE : POSTGRES).find(([pattern]) => pattern.test(code))?.[1];
  if (known === undefined) {
    // pg reports a connection that ended under a query without any code
    if (thrown instanceof Error && /^(Connection terminated|timeout exceeded when trying to connect)/.test(thrown.message))
      return coded('STORE_UNAVAILABLE', thrown);
    return thrown;
  }
  return coded(known, thrown);
}

function coded(code: ErrorCode, cause: unknown): CodedError {
  const text = { STATE_DAMAGED: 'the database is damaged', STORE_FULL: 'the disk of the database is full' } as Partial<
    Record<ErrorCode, string>
  >;
  return new CodedError(code, text[code] ?? `the database does not answer (${codeOf(cause) || 'connection lost'})`, {
    hint: HINTS[code],
    cause,
  });
}

/** Whether a unique key refused the row. */
export function isDuplicate(thrown: unknown): boolean {
  return /^(SQLITE_CONSTRAINT_(UNIQUE|PRIMARYKEY)|23505)$/.test(codeOf(thrown));
}

/** Name of the refusing key, or the columns SQLite names in its message. */
export function duplicateOf(thrown: unknown): string {
  // no instanceof: an add-on's errors may come from another realm than ours
  const { constraint, message } = thrown as { constraint?: unknown; message?: unknown };
  return typeof constraint === 'string' ? constraint : typeof message === 'string' ? message : '';
}
