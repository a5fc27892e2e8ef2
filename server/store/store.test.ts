/** The store contract on SQLite and on a real PostgreSQL, and what each does with damage, a full disk, old and newer files. */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Kysely, sql } from 'kysely';
import { postgresMissing, startPostgres, type TestPostgres } from '../../test/harness/postgres.ts';
import { testUnless } from '../../test/harness/where.ts';
import { type DatabaseOptions, openDatabase } from './database.ts';
import { envoyStore } from './envoys.ts';
import { migrations } from './migrations/index.ts';
import { movesContract } from './moves.contract.ts';
import { parsePostgresUrl } from './postgres-dialect.ts';
import type { Schema } from './schema.ts';
import { sqliteDialect } from './sqlite-dialect.ts';
import { openSqliteFile } from './sqlite-file.ts';
import { anEnvoy, storeContract } from './store.contract.ts';
import type { Store } from './store.ts';

const folder = mkdtempSync(join(tmpdir(), 'vigo-store-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const sqlite = (name: string, create = true) => ({ driver: 'sqlite' as const, path: join(folder, name), busyTimeoutMs: 1000, create });

function onDatabase(options: () => DatabaseOptions): void {
  let store: Store;
  beforeAll(async () => {
    store = await openDatabase(options(), 1);
  });
  afterAll(() => store.close());
  storeContract(() => store);
  movesContract(() => store, anEnvoy);
  test('knows its size, closes twice, opens again without a migration', async () => {
    expect(await store.sizeBytes()).toBeGreaterThan(10_000);
    const again = await openDatabase({ ...options(), create: false } as DatabaseOptions, 2);
    expect(await again.users.list()).toEqual([]);
    await again.close();
    await again.close();
  });
}

describe('SQLite', () => onDatabase(() => sqlite('contract.db')));

const missing = postgresMissing();
if (missing !== undefined) {
  testUnless(missing)('PostgreSQL', () => undefined);
} else {
  describe('PostgreSQL', () => {
    let postgres: TestPostgres;
    beforeAll(() => {
      postgres = startPostgres();
      postgres.createDatabase('contract');
    });
    afterAll(() => postgres.stop());
    onDatabase(() => ({ driver: 'postgres', url: postgres.url('contract'), pool: 10 }));
    test('a text with U+0000 is kept with U+FFFD in its place', async () => {
      const store = await openDatabase({ driver: 'postgres', url: postgres.url('contract'), pool: 1 }, 1);
      const envoy = anEnvoy({ reason: 'a\0b' });
      await store.envoys.insert(envoy);
      expect((await store.envoys.byId(envoy.id))?.reason).toBe('a\ufffdb');
      await store.close();
    });
    test('a database that is away is said to be unavailable', async () => {
      const url = postgres.url('contract').replace('vigo-pg-', 'vigo-pg-gone-');
      await expect(openDatabase({ driver: 'postgres', url, pool: 1 }, 1)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    });
  });
}

describe('an SQLite file', () => {
  const damaged = { code: 'STATE_DAMAGED', hint: expect.stringContaining('backup') };

  test('that is missing, empty, garbage, or whose log outlived it is damaged, and stays as it is', async () => {
    await expect(openDatabase(sqlite('missing.db', false), 1)).rejects.toMatchObject(damaged);
    writeFileSync(join(folder, 'empty.db'), '');
    await expect(openDatabase(sqlite('empty.db'), 1)).rejects.toMatchObject(damaged);
    expect(readFileSync(join(folder, 'empty.db'))).toHaveLength(0);
    writeFileSync(join(folder, 'garbage.db'), 'x'.repeat(9000));
    await expect(openDatabase(sqlite('garbage.db'), 1)).rejects.toMatchObject(damaged);
    writeFileSync(join(folder, 'lost.db-wal'), 'x');
    await expect(openDatabase(sqlite('lost.db'), 1)).rejects.toMatchObject(damaged);
  });

  test('with a flipped page or a cut tail is damaged', async () => {
    const store = await openDatabase(sqlite('flip.db'), 1);
    for (let count = 0; count < 50; count += 1) await store.envoys.insert(anEnvoy());
    await store.close();
    const whole = readFileSync(join(folder, 'flip.db'));
    const flipped = Buffer.from(whole);
    flipped.fill(0xff, 4096, 4096 * 12);
    writeFileSync(join(folder, 'flip.db'), flipped);
    await expect(openDatabase(sqlite('flip.db', false), 1)).rejects.toMatchObject(damaged);
    writeFileSync(join(folder, 'flip.db'), whole);
    truncateSync(join(folder, 'flip.db'), 4096 * 3);
    await expect(openDatabase(sqlite('flip.db', false), 1)).rejects.toMatchObject(damaged);
  });

  test('is copied while open, and the copy opens', async () => {
    const store = await openDatabase(sqlite('live.db'), 1);
    const envoy = anEnvoy();
    await store.envoys.insert(envoy);
    await store.snapshot(join(folder, 'copy.db'));
    await store.close();
    const copy = await openDatabase(sqlite('copy.db', false), 1);
    expect((await copy.envoys.byId(envoy.id))?.hostname).toBe(envoy.hostname);
    await copy.close();
  });

  test('is copied before a migration; a failed one changes nothing; a newer file is refused', async () => {
    await (await openDatabase(sqlite('old.db'), 1)).close();
    const second = {
      name: '0002-more',
      up: async (db: Parameters<(typeof migrations)[0]['up']>[0]) => void (await sql`create table more (a text)`.execute(db)),
    };
    const failing = {
      name: '0002-more',
      up: async (db: Parameters<(typeof migrations)[0]['up']>[0]) => {
        await second.up(db);
        throw new Error('no');
      },
    };
    await expect(openDatabase(sqlite('old.db', false), 1, [...migrations, failing])).rejects.toMatchObject({ code: 'DATABASE_FAILED' });
    await (await openDatabase(sqlite('old.db', false), 2, [...migrations, second])).close();
    await (await openDatabase(sqlite('before-0002-more.db', false), 2)).close();
    await expect(openDatabase(sqlite('old.db', false), 3)).rejects.toMatchObject({ code: 'DATABASE_FAILED' });
  });

  test('on a full disk a transaction is STORE_FULL as a whole, what was there stays, and it goes on when there is room', async () => {
    await (await openDatabase(sqlite('full.db'), 1)).close();
    const file = openSqliteFile(join(folder, 'full.db'), { create: false, busyTimeoutMs: 10 });
    const db = new Kysely<Schema>({ dialect: sqliteDialect(file) });
    const envoys = Array.from({ length: 500 }, () => anEnvoy({ reason: 'x'.repeat(1000) }));
    const fill = () =>
      db.transaction().execute(async (tx) => {
        for (const envoy of envoys) await envoyStore(tx, 'sqlite').insert(envoy);
      });
    const pages = Number(file.pragma('page_count', { simple: true }));
    file.pragma(`max_page_count = ${pages + 20}`);
    await expect(fill()).rejects.toMatchObject({ code: 'STORE_FULL' });
    expect(await envoyStore(db, 'sqlite').byId(envoys[0]!.id)).toBeUndefined();
    file.pragma('max_page_count = 100000');
    await fill();
    expect((await envoyStore(db, 'sqlite').byId(envoys[499]!.id))?.hostname).toBe(envoys[499]!.hostname);
    await db.destroy();
  });
});

test.each([
  [
    'postgres://u:p%40@db.example:6543/vigo',
    { host: 'db.example', port: 6543, user: 'u', password: 'p@', database: 'vigo', socket: false },
  ],
  ['postgres://u@[::1]/v?sslmode=verify-full', { host: '::1', port: 5432, user: 'u', password: '', database: 'v', socket: false }],
  ['postgres:///v?host=/run/pg', { host: '/run/pg', port: 5432, user: '', password: '', database: 'v', socket: true }],
])('reads %s', (url, expected) => {
  expect(parsePostgresUrl(url)).toEqual(expected);
});

test.each([
  'postgres://h/v?sslmode=require',
  'postgres://h/v?sslmode=disable',
  'mysql://h/v',
  'postgres:///v',
  'postgres://h/v?sslrootcert=x',
])('refuses %s', (url) => {
  expect(() => parsePostgresUrl(url)).toThrow(expect.objectContaining({ code: 'SETTINGS_INVALID' }));
});
