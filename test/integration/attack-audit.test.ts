/** Somebody who can write the database of a stopped server tampers with the audit log: `vigocli audit verify` exits 1 and names the first bad record. */
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { appendLeaf, emptyFrontier, leafHash } from '../../core/crypto/merkle-log.ts';
import { runProgram } from '../harness/process-launcher.ts';
import { makeSite, type Site } from '../harness/site.ts';

const EVERY = 4;
const outside = mkdtempSync(join(tmpdir(), 'vigo-witness-'));
const witness = join(outside, 'notes');
let site: Site;
/** the whole data directory as it was left, and as it was two records of ten earlier */
const saved = join(outside, 'saved');
const older = join(outside, 'older');
let size = 0;

const at = () => join(site.dataDir, 'db');

beforeAll(async () => {
  site = await makeSite({
    hostname: 'localhost',
    settings: { server: { threads: 1 }, audit: { checkpoint_every: EVERY, witnesses: [`file:${witness}`] } },
  });
  await site.start();
  for (let i = 0; i < 6; i++) await site.cli(['tokens', 'create', '--pattern', `one-${i}`]);
  await site.stop();
  cpSync(at(), older, { recursive: true });
  await site.start();
  for (let i = 0; i < 8; i++) await site.cli(['tokens', 'create', '--pattern', `two-${i}`]);
  await site.stop();
  cpSync(at(), saved, { recursive: true });
  cpSync(witness, join(outside, 'notes.saved'));
  const db = new Sqlite(join(at(), 'vigo.db'), { readonly: true });
  size = (db.prepare('select size from audit_head').get() as { size: number }).size;
  db.close();
}, 120_000);
afterAll(async () => {
  await site.remove();
  rmSync(outside, { recursive: true, force: true });
}, 30_000);

type Db = Sqlite.Database;

/** A head that fits the rows that are there, as a careful attacker leaves it. */
function fitHead(db: Db): void {
  let tree = emptyFrontier();
  const rows = db.prepare('select record from audit order by seq').all() as { record: string }[];
  for (const { record } of rows) tree = appendLeaf(tree, leafHash(Buffer.from(record, 'utf8')));
  db.prepare('update audit_head set size = ?, frontier = ?').run(tree.size, Buffer.concat(tree.roots));
}

/** Takes record `seq` away and lets all behind it move up by one, in columns and texts. */
function closeHole(db: Db, seq: number): void {
  db.prepare('delete from audit where seq = ?').run(seq);
  for (const row of db.prepare('select seq, record from audit where seq > ? order by seq').all(seq) as { seq: number; record: string }[])
    db.prepare('update audit set seq = ?, record = ? where seq = ?').run(
      row.seq - 1,
      row.record.replace(`"seq":${row.seq}`, `"seq":${row.seq - 1}`),
      row.seq,
    );
}

/** The end of the stretch that a checkpoint signed with this record in it. */
const signedBehind = (seq: number) => (db: Db) =>
  (db.prepare('select min(size) as size from checkpoints where size > ?').get(seq) as { size: number }).size;

const cases: Record<string, { tamper(db: Db): void; first: number | ((db: Db) => number); kind: string }> = {
  'a record is edited': {
    tamper: (db) => db.prepare(`update audit set record = replace(record, '"event":"', '"event":"x') where seq = 3`).run(),
    first: 3,
    kind: 'modified',
  },
  'a record is edited with its columns and the head': {
    tamper: (db) => {
      db.prepare(`update audit set record = replace(record, '"outcome":"ok"', '"outcome":"no"') where seq = 5`).run();
      fitHead(db);
    },
    first: signedBehind(5),
    kind: 'modified',
  },
  'the actor of a record is another': {
    tamper: (db) => db.prepare(`update audit set actor = 'mallory' where seq = 6`).run(),
    first: 6,
    kind: 'modified',
  },
  'a record is deleted': { tamper: (db) => db.prepare('delete from audit where seq = 4').run(), first: 4, kind: 'deleted' },
  'a record is deleted and the hole closed': {
    tamper: (db) => {
      closeHole(db, 4);
      fitHead(db);
    },
    first: signedBehind(4),
    kind: 'modified',
  },
  'the first record is deleted': { tamper: (db) => db.prepare('delete from audit where seq = 0').run(), first: 0, kind: 'deleted' },
  'a record is inserted': {
    tamper: (db) =>
      db
        .prepare('insert into audit select ?, time, event, actor, target, replace(record, ?, ?) from audit where seq = 2')
        .run(size, '"seq":2,', `"seq":${size},`),
    first: () => size,
    kind: 'inserted',
  },
  'two records are swapped': {
    tamper: (db) => {
      const text = (seq: number) => (db.prepare('select record from audit where seq = ?').get(seq) as { record: string }).record;
      const [a, b] = [text(3), text(5)];
      db.prepare('update audit set record = ? where seq = 3').run(b);
      db.prepare('update audit set record = ? where seq = 5').run(a);
    },
    first: 3,
    kind: 'modified',
  },
  'the tail is cut': { tamper: (db) => db.prepare('delete from audit where seq >= 8').run(), first: 8, kind: 'truncated' },
  'the tail is cut with its checkpoints, and the head fits': {
    tamper: (db) => {
      db.prepare('delete from audit where seq >= 8').run();
      db.prepare('delete from checkpoints where size > 8').run();
      fitHead(db);
    },
    first: 8,
    kind: 'witness_ahead',
  },
  'everything is deleted': {
    tamper: (db) => {
      db.prepare('delete from audit').run();
      db.prepare('delete from checkpoints').run();
      fitHead(db);
    },
    first: 0,
    kind: 'witness_ahead',
  },
  'a checkpoint is signed by another key': {
    tamper: (db) =>
      db
        .prepare(`update checkpoints set note = replace(note, 'epoch 1', 'epoch 2') where size = (select min(size) from checkpoints)`)
        .run(),
    first: (db) => (db.prepare('select min(size) as size from checkpoints').get() as { size: number }).size,
    kind: 'unsigned',
  },
};

async function verify(): Promise<{ code: number | null; first: { kind: string; seq: number } | undefined; count: number }> {
  const ran = await runProgram('vigocli', ['--data-dir', site.dataDir, '--json', 'audit', 'verify'], { env: { HOME: outside } });
  const { findings } = JSON.parse(ran.stdout) as { findings: { kind: string; seq: number }[] };
  return { code: ran.code, first: findings[0], count: findings.length };
}

async function withLog(from: string, tamper: (db: Db) => void, look: (before: Db) => Promise<void>): Promise<void> {
  rmSync(at(), { recursive: true, force: true });
  cpSync(from, at(), { recursive: true });
  cpSync(join(outside, 'notes.saved'), witness);
  const db = new Sqlite(join(at(), 'vigo.db'));
  const before = new Sqlite(join(saved, 'vigo.db'), { readonly: true });
  tamper(db);
  db.close();
  await site.start();
  try {
    await look(before);
  } finally {
    before.close();
    await site.stop();
  }
}

test('untouched: exit 0', async () => {
  expect(existsSync(witness)).toBe(true);
  await withLog(
    saved,
    () => {},
    async () => expect(await verify()).toEqual({ code: 0, first: undefined, count: 0 }),
  );
}, 30_000);

test.each(Object.keys(cases))(
  '%s',
  async (name) => {
    const { tamper, first, kind } = cases[name]!;
    await withLog(saved, tamper, async (before) => {
      const seq = typeof first === 'number' ? first : first(before);
      expect(await verify()).toMatchObject({ code: 1, first: { kind, seq } });
      // the server saw it at its start: no change goes on as if nothing had been
      await expect(site.cli(['tokens', 'create', '--pattern', 'x'])).rejects.toThrow('AUDIT_BROKEN');
    });
  },
  30_000,
);

test('an old database is put back', async () => {
  await withLog(
    older,
    () => {},
    async () => expect(await verify()).toMatchObject({ code: 1, first: { kind: 'witness_ahead' } }),
  );
}, 30_000);

test('an old database is put back and a second history is written over the place of the first', async () => {
  await withLog(
    older,
    (db) => {
      // start-up looks away: as if an admin had acknowledged
      db.prepare(`insert into counters (name, value) values ('audit_acknowledged', 1)`).run();
    },
    async () => {
      for (let i = 0; i < 12; i++) await site.cli(['tokens', 'create', '--pattern', `other-${i}`]);
      const { code, first } = await verify();
      expect([code, first?.kind]).toEqual([1, 'forked']);
    },
  );
}, 60_000);
