/** A real PostgreSQL for tests: the installed binaries, a fresh cluster in a temporary folder, a unix socket, no TCP. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TestPostgres {
  url(database: string): string;
  createDatabase(name: string): void;
  stop(): void;
}

/** Numeric ids of an account that may run the server: PostgreSQL refuses root. */
function account(): { uid: number; gid: number } | undefined {
  const uid = process.getuid?.() ?? 0;
  if (uid !== 0) return { uid, gid: process.getgid?.() ?? uid };
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const name of ['postgres', 'nobody']) {
    const fields = lines.find((line) => line.startsWith(`${name}:`))?.split(':');
    if (fields !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  return undefined;
}

function binaries(): string | undefined {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return undefined;
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(root, version, 'bin')).find((bin) => existsSync(join(bin, 'initdb')));
}

function must(result: SpawnSyncReturns<string>, what: string): void {
  if (result.status !== 0) throw new Error(`${what}: ${result.error?.message ?? ''}${result.stdout}${result.stderr}`);
}

/** Why there can be no server on this machine; undefined when there can. */
export function postgresMissing(): string | undefined {
  if (binaries() === undefined) return 'no PostgreSQL binaries under /usr/lib/postgresql';
  return account() === undefined ? 'no account but root: PostgreSQL refuses root' : undefined;
}

export function startPostgres(): TestPostgres {
  const bin = binaries();
  const who = account();
  if (bin === undefined || who === undefined) throw new Error(postgresMissing());
  const folder = mkdtempSync(join(tmpdir(), 'vigo-pg-'));
  chownSync(folder, who.uid, who.gid);
  const data = join(folder, 'data');
  const run = (program: string, ...args: string[]) =>
    spawnSync(join(bin, program), args, { ...who, cwd: folder, encoding: 'utf8', env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' } });
  must(run('initdb', '-D', data, '-U', 'vigo', '-A', 'trust', '-E', 'UTF8', '--no-sync'), 'initdb');
  const flags = `-c listen_addresses= -c unix_socket_directories=${folder} -c fsync=off -c max_connections=120`;
  must(run('pg_ctl', '-D', data, '-l', join(folder, 'log'), '-w', '-o', flags, 'start'), 'pg_ctl start');
  return {
    url: (database) => `postgres://vigo@/${database}?host=${encodeURIComponent(folder)}`,
    createDatabase: (name) => must(run('createdb', '-h', folder, '-U', 'vigo', name), 'createdb'),
    stop() {
      run('pg_ctl', '-D', data, '-m', 'immediate', '-w', 'stop');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
