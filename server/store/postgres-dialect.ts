/** PostgreSQL for Kysely: whole numbers as numbers, failures in our words, TLS with a checked name on every TCP connection. */
import { isIP } from 'node:net';
import { type DatabaseConnection, type Dialect, type Driver, PostgresDialect } from 'kysely';
import pg from 'pg';
import { CodedError } from '../../core/base/errors.ts';
import { translated } from './failures.ts';

export interface PostgresTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly socket: boolean;
}

function refused(message: string, hint: string): CodedError {
  return new CodedError('SETTINGS_INVALID', message, { hint });
}

/** `postgres://user:password@host:port/name`; a host that is a folder (`?host=/run/postgresql` or percent-encoded) is a unix socket. */
export function parsePostgresUrl(text: string): PostgresTarget {
  const match = /^postgres(?:ql)?:\/\/(?:([^:@/]*)(?::([^@/]*))?@)?(\[[0-9a-fA-F:]+\]|[^:/?]*)(?::(\d+))?\/([^?]*)(?:\?(.*))?$/.exec(text);
  if (match === null) throw refused('database.url is not a postgres URL', 'write postgres://user:password@host:5432/name');
  const query = new URLSearchParams(match[6] ?? '');
  for (const name of query.keys())
    if (name !== 'sslmode' && name !== 'host')
      throw refused(`database.url has the unknown parameter ${name}`, 'sslmode and host are known');
  const decode = (part: string | undefined) => decodeURIComponent(part ?? '');
  const host = query.get('host') ?? decode(match[3]).replace(/^\[|\]$/g, '');
  const mode = query.get('sslmode') ?? 'verify-full';
  const socket = host.startsWith('/');
  if (host === '') throw refused('database.url names no host', 'a unix socket is written postgres:///name?host=/run/postgresql');
  if (!socket && mode !== 'verify-full') throw refused(`database.url asks for sslmode=${mode}`, 'only verify-full is possible over TCP');
  return { host, port: Number(match[4] ?? 5432), user: decode(match[1]), password: decode(match[2]), database: decode(match[5]), socket };
}

const INT8 = 20;

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new CodedError('STATE_DAMAGED', `the number ${text} of the database is out of range`);
  return value;
}

/** Failures leave the driver as coded errors; U+0000, which PostgreSQL's text cannot hold, becomes U+FFFD. */
function wrapped(connection: DatabaseConnection): DatabaseConnection {
  return {
    executeQuery(query) {
      const dirty = query.parameters.some((value) => typeof value === 'string' && value.includes('\0'));
      const parameters = dirty
        ? query.parameters.map((value) => (typeof value === 'string' ? value.replaceAll('\0', '\ufffd') : value))
        : query.parameters;
      return ours(connection.executeQuery({ ...query, parameters }));
    },
    streamQuery() {
      throw new TypeError('the stores read in pages');
    },
  };
}

async function ours<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (thrown) {
    throw translated(thrown);
  }
}

export function postgresDialect(target: PostgresTarget, options: { pool: number; ca: string | undefined }): Dialect {
  const pool = new pg.Pool({
    host: target.host,
    port: target.port,
    user: target.user,
    password: target.password,
    database: target.database,
    max: options.pool,
    connectionTimeoutMillis: 10_000,
    statement_timeout: 60_000,
    application_name: 'vigosrv',
    ssl: target.socket ? false : { ca: options.ca, minVersion: 'TLSv1.2', ...(isIP(target.host) === 0 ? {} : { host: target.host }) },
    types: { getTypeParser: (oid, format) => (oid === INT8 ? wholeNumber : pg.types.getTypeParser(oid, format as 'text')) },
  });
  // an idle connection that ends is replaced at the next query; without a listener it would end the process
  pool.on('error', () => undefined);
  const dialect = new PostgresDialect({ pool });
  const connections = new WeakMap<DatabaseConnection, DatabaseConnection>();
  return {
    createAdapter: () => dialect.createAdapter(),
    createIntrospector: (kysely) => dialect.createIntrospector(kysely),
    createQueryCompiler: () => dialect.createQueryCompiler(),
    createDriver: () => {
      const driver = dialect.createDriver();
      const inner = (connection: DatabaseConnection) => connections.get(connection) ?? connection;
      return {
        init: () => driver.init(),
        async acquireConnection() {
          const connection = await ours(driver.acquireConnection());
          const outer = wrapped(connection);
          connections.set(outer, connection);
          return outer;
        },
        beginTransaction: (connection, settings) => ours(driver.beginTransaction(inner(connection), settings)),
        commitTransaction: (connection) => ours(driver.commitTransaction(inner(connection))),
        rollbackTransaction: (connection) => ours(driver.rollbackTransaction(inner(connection))),
        releaseConnection: (connection) => driver.releaseConnection(inner(connection)),
        destroy: () => driver.destroy(),
      } satisfies Driver;
    },
  };
}
