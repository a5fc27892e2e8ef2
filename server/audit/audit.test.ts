/** The audit log on a real SQLite file: records, checkpoints, and every kind of tampering that must show. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { type Clock, systemClock } from '../../core/base/clock.ts';
import { createLogger } from '../../core/base/log.ts';
import { keyIdOf, newSigningKey } from '../../core/crypto/ed25519.ts';
import { openDatabase } from '../store/database.ts';
import { createCheckpointer, fileWitness } from './checkpoint.ts';
import { isSignedBy, parseCheckpoint } from './note.ts';
import { type AuditEvent, recordText, SYSTEM } from './record.ts';
import { createTrail } from './trail.ts';
import { readWitnessFile, verifyAudit, verifyNewest } from './verify.ts';

const folder = mkdtempSync(join(tmpdir(), 'vigo-audit-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const START = 1_760_000_000_000;
const FLEET = '01990000-0000-7000-8000-000000000001';
const key = newSigningKey();
const lines: string[] = [];
const log = createLogger({ level: 'trace', format: 'json', write: (line) => void lines.push(line) });

function anEvent(data: AuditEvent['data'] = { a: 1 }): AuditEvent {
  return {
    actor: { kind: 'user', id: 'u1', name: 'alice' },
    event: 'config.published',
    target: { kind: 'release', id: '7' },
    outcome: 'ok',
    requestId: 'r',
    data,
  };
}

let files = 0;
async function aLog(records: number, more: { every?: number; times?: (seq: number) => number; witness?: string } = {}) {
  files += 1;
  const path = join(folder, `${files}.db`);
  const store = await openDatabase({ driver: 'sqlite', path, busyTimeoutMs: 1000, create: true }, START);
  let seq = 0;
  const clock: Clock = { ...systemClock, now: () => more.times?.(seq) ?? START + seq * 1000 };
  const trail = createTrail({ clock, site: 'main', epoch: () => 1 });
  const witnesses = more.witness === undefined ? [] : [fileWitness(more.witness)];
  const parts = { store, clock, log, key, fleetId: FLEET, siteId: 'main', epoch: () => 1, every: 1000, witnesses };
  const checkpointer = createCheckpointer(parts);
  const write = async (count: number) => {
    for (let index = 0; index < count; index += 1) {
      await store.transaction((tx) => trail.record(tx, anEvent({ n: seq })));
      seq += 1;
      if (more.every !== undefined && seq % more.every === 0) await checkpointer.make();
    }
  };
  await write(records);
  const keyOf = (id: string) => (id === keyIdOf(key.publicKey) ? key.publicKey : undefined);
  const verify = { store, fleetId: FLEET, siteId: 'main', keyOf };
  const tamper = (statement: string, ...values: unknown[]) => {
    const db = new Sqlite(path);
    db.prepare(statement).run(...values);
    db.close();
  };
  return { store, trail, checkpointer, verify, tamper, write, path };
}

const kinds = (findings: readonly { kind: string }[]) => [...new Set(findings.map((finding) => finding.kind))];

test('an untouched log verifies, wholly and from its newest part', async () => {
  const { verify, store, checkpointer } = await aLog(40, { every: 7 });
  expect(await verifyAudit(verify)).toEqual([]);
  await verifyNewest(verify, 10);
  await verifyNewest(verify, 1000);
  const note = (await checkpointer.make())!;
  const checkpoint = parseCheckpoint(note);
  expect(checkpoint).toMatchObject({ fleetId: FLEET, siteId: 'main', size: 40, epoch: 1, time: START + 40_000 });
  expect(isSignedBy(checkpoint, key.publicKey)).toBe(true);
  expect(isSignedBy({ ...checkpoint, size: 41 }, key.publicKey)).toBe(false);
  expect(await checkpointer.make()).toBe(note);
  await store.close();
});

describe('shows', () => {
  test.each<[string, string, unknown[], string]>([
    ['a changed record', `update audit set record = replace(record, '"n":5', '"n":6') where seq = 5`, [], 'modified'],
    ['a changed column', `update audit set actor = 'bob' where seq = 30`, [], 'modified'],
    ['a changed time column', 'update audit set time = time + 1 where seq = 39', [], 'modified'],
    ['a removed record', 'delete from audit where seq = 12', [], 'deleted'],
    ['a cut tail', 'delete from audit where seq >= 33', [], 'truncated'],
    ['an added record', `insert into audit select 40, time, event, actor, target, record from audit where seq = 39`, [], 'inserted'],
    ['a broken head', `update audit_head set frontier = x'00'`, [], 'modified'],
    ['an unsigned checkpoint', `update checkpoints set note = replace(note, 'epoch 1', 'epoch 2') where size = 35`, [], 'unsigned'],
  ])('%s', async (_, statement, values, kind) => {
    const { verify, tamper, store } = await aLog(40, { every: 7 });
    tamper(statement, ...values);
    expect(kinds(await verifyAudit(verify))).toContain(kind);
    if (!/seq = (5|12)/.test(statement)) await expect(verifyNewest(verify, 20)).rejects.toMatchObject({ code: 'AUDIT_BROKEN' });
    await store.close();
  });

  test('a changed record whose head was made to fit, by the next checkpoint', async () => {
    const { verify, tamper, store } = await aLog(14, { every: 7 });
    const other = await aLog(0);
    for (let seq = 0; seq < 14; seq += 1) await other.store.transaction((tx) => other.trail.record(tx, anEvent({ n: 100 })));
    const forged = await other.store.audit.head();
    for await (const row of other.store.audit.read(0))
      tamper('update audit set record = ?, time = ? where seq = ?', row.record, row.time, row.seq);
    tamper('update audit_head set frontier = ?', Buffer.concat(forged.frontier));
    const findings = await verifyAudit(verify);
    expect(findings.map((finding) => [finding.kind, finding.seq])).toEqual([
      ['modified', 7],
      ['modified', 14],
    ]);
    await store.close();
    await other.store.close();
  });

  test('an old database put back, and a second history, by the file of a witness', async () => {
    const witness = join(folder, 'witness');
    const first = await aLog(20, { every: 5, witness });
    await first.store.close();
    const held = { name: 'file', notes: await readWitnessFile(witness) };
    expect(held.notes).toHaveLength(4);
    const restored = await aLog(12, { every: 5 });
    expect(kinds(await verifyAudit({ ...restored.verify, witnesses: [held] }))).toEqual(['witness_ahead']);
    await restored.store.close();
    const second = await aLog(20, { times: (seq) => START + seq * 999 });
    expect(kinds(await verifyAudit({ ...second.verify, witnesses: [held] }))).toEqual(['forked']);
    const stranger = { name: 'x', notes: ['hello\n', held.notes[0]!.replace('/main', '/other')] };
    expect(kinds(await verifyAudit({ ...second.verify, witnesses: [stranger] }))).toEqual(['unsigned', 'forked']);
    await second.store.close();
  });

  test('time that went back', async () => {
    const { verify, store } = await aLog(4, { times: (seq) => START - (seq === 2 ? 6 * 60_000 : 0) });
    expect(await verifyAudit(verify)).toMatchObject([{ kind: 'clock', seq: 2 }]);
    await store.close();
  });
});

test('a blocked log refuses changes, and the change with them, until the acknowledgement', async () => {
  const { trail, store } = await aLog(2);
  trail.block('record 1 was changed');
  const change = () =>
    store.transaction(async (tx) => {
      await tx.counters.next('x');
      await trail.record(tx, anEvent());
    });
  await expect(change()).rejects.toMatchObject({ code: 'AUDIT_BROKEN' });
  expect(await store.counters.get('x')).toBe(0);
  await store.transaction((tx) => trail.record(tx, { ...anEvent(), event: 'audit.acknowledged', actor: SYSTEM }));
  trail.unblock();
  await change();
  expect(await store.counters.get('x')).toBe(1);
  await store.close();
});

test('makes a checkpoint after so many records and at stop, and logs a witness that fails', async () => {
  const { store, trail } = await aLog(0);
  const failing = { name: 'broken', give: async () => Promise.reject(new Error('away')) };
  const parts = { store, clock: systemClock, log, key, fleetId: FLEET, siteId: 'main', epoch: () => 1, every: 3, witnesses: [failing] };
  const checkpointer = createCheckpointer(parts);
  checkpointer.start();
  for (let count = 0; count < 4; count += 1) {
    await store.transaction((tx) => trail.record(tx, anEvent()));
    checkpointer.recorded();
    await checkpointer.make();
  }
  await store.transaction((tx) => trail.record(tx, anEvent()));
  checkpointer.recorded();
  await checkpointer.stop();
  await checkpointer.stop();
  expect((await store.checkpoints.newest())?.size).toBe(5);
  expect(lines.join()).toContain('a witness did not take the checkpoint');
  await store.close();
});

test.each([
  ['long texts', { text: 'ä'.repeat(50_000) }],
  ['many members', Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`key${index}`, 'x'.repeat(300)]))],
  ['deep lists', JSON.parse(`${'['.repeat(500)}${']'.repeat(500)}`) as never],
  ['a lone surrogate', { text: '\ud800' }],
  ['a member __proto__', JSON.parse('{"__proto__": "x"}') as never],
])('a record stays within 16 KiB and canonical with %s', (_, data) => {
  const text = recordText(anEvent({ data } as AuditEvent['data']), { seq: 0, time: START, site: 'main', epoch: 1 });
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(16 * 1024);
  expect(JSON.parse(text)).toMatchObject({ seq: 0, event: 'config.published', outcome: 'ok' });
});
