/** Copies of a spoke's audit log: whole, in order, across cuts and restarts; a log that was rewritten or cut is noticed and never believed again. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { systemClock } from '../core/base/clock.ts';
import { signingKeyFromSeed } from '../core/crypto/ed25519.ts';
import { type Checkpointer, createCheckpointer } from '../server/audit/checkpoint.ts';
import { SYSTEM } from '../server/audit/record.ts';
import { type AuditTrail, createTrail } from '../server/audit/trail.ts';
import type { Answer, LinkSession } from '../server/spanner/link.ts';
import { pairedSessions } from '../server/spanner/paired.ts';
import { answerAuditPulls } from '../server/spanner/site/audit.ts';
import { openDatabase } from '../server/store/database.ts';
import type { Store } from '../server/store/store.ts';
import { quietLog } from '../test/fakes/quiet-log.ts';
import { AuditCopies } from './audit-copies.ts';

jest.setTimeout(30_000);

const FLEET = '01980000-0000-7000-8000-000000000001';
const KEY = signingKeyFromSeed(Buffer.alloc(32, 5));
const stops: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function database(): Promise<Store> {
  const folder = mkdtempSync(join(tmpdir(), 'vigo-copies-'));
  const store = await openDatabase({ driver: 'sqlite', path: join(folder, 'vigo.db'), busyTimeoutMs: 2000, create: true }, 1);
  stops.push(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });
  return store;
}

interface Spoke {
  readonly store: Store;
  readonly checkpointer: Checkpointer;
  readonly trail: AuditTrail;
  readonly answer: Answer;
  write(count: number, text?: string): Promise<void>;
}

async function spoke(every = 256, key = KEY): Promise<Spoke> {
  const store = await database();
  const trail = createTrail({ clock: systemClock, site: 'dc1', epoch: () => 1, onRecord: () => checkpointer.recorded() });
  const checkpointer = createCheckpointer({
    store,
    clock: systemClock,
    log: quietLog(),
    key,
    fleetId: FLEET,
    siteId: 'dc1',
    epoch: () => 1,
    every,
    witnesses: [],
  });
  return {
    store,
    checkpointer,
    trail,
    answer: answerAuditPulls({ store, checkpointer }),
    async write(count, text = '') {
      for (let i = 0; i < count; i++)
        await store.transaction((tx) =>
          trail.record(tx, {
            actor: SYSTEM,
            event: 'envoy.pushed',
            target: { kind: 'envoy', id: `e${i}` },
            outcome: 'ok',
            data: { i, text },
          }),
        );
    },
  };
}

interface Hub {
  readonly store: Store;
  readonly forks: string[];
  readonly copies: AuditCopies;
  link(site: { readonly answer: Answer }): LinkSession;
}

async function hub(store?: Store): Promise<Hub> {
  const kept = store ?? (await database());
  const forks: string[] = [];
  const copies = new AuditCopies({
    store: kept,
    fleetId: FLEET,
    keyOf: (id) => (id === 'dc1' ? KEY.publicKey : undefined),
    sessions: () => [],
    fork: (_spoke, why) => forks.push(why),
    clock: systemClock,
    log: quietLog(),
    everyMs: 50,
  });
  return {
    store: kept,
    forks,
    copies,
    link: ({ answer }) => pairedSessions({ siteId: 'hub', answers: copies.answers }, { siteId: 'dc1', answers: [answer] })[0],
  };
}

async function recordsOf(store: Store): Promise<string[]> {
  const records = [];
  for await (const { record } of store.audit.read(0)) records.push(record);
  return records;
}

const copied = async ({ store }: Hub) => [...(await store.siteAudit.list('dc1', {}, 100_000))].reverse().map(({ record }) => record);

describe('a copy', () => {
  test('holds every record of the spoke, with the tree that the spoke signed', async () => {
    const site = await spoke();
    const center = await hub();
    await site.write(30);
    await center.copies.pull(center.link(site));
    expect(await copied(center)).toEqual(await recordsOf(site.store));
    const own = await site.store.audit.head();
    expect(await center.store.siteAudit.head('dc1')).toMatchObject({
      size: 30,
      fault: '',
      frontier: own.frontier.map((root) => Buffer.from(root)),
    });
    expect((await center.store.siteAudit.list('dc1', { target: 'e7' }, 10))[0]).toMatchObject({
      seq: 7,
      actor: 'system',
      event: 'envoy.pushed',
    });
    await site.write(3);
    await center.copies.pull(center.link(site));
    expect(await copied(center)).toHaveLength(33);
  });

  test('has neither hole nor double, wherever the link is cut and whenever the hub starts again', async () => {
    const site = await spoke(7);
    await site.write(60);
    // pieces end at checkpoints: small ones, so that there are many
    const small: Answer = { ...site.answer, answer: (request, asked) => site.answer.answer({ ...(request as object), limit: 10 }, asked) };
    let center = await hub();
    for (let at = 1; at <= 4; at++) {
      let answered = 0;
      const link: LinkSession = center.link({
        answer: {
          ...small,
          answer: async (request, asked) => {
            const reply = await small.answer(request, asked);
            if (++answered === at) link.close('cut');
            return reply;
          },
        },
      });
      await expect(center.copies.pull(link)).rejects.toMatchObject({ code: 'SPOKE_UNAVAILABLE' });
      const sofar = await copied(center);
      expect(sofar).toEqual((await recordsOf(site.store)).slice(0, sofar.length));
      center = await hub(center.store);
    }
    await site.write(5);
    await Promise.all([center.copies.pull(center.link({ answer: small })), center.copies.pull(center.link({ answer: small }))]);
    expect(await copied(center)).toEqual(await recordsOf(site.store));
  });

  test('is refused what does not follow the stored records', async () => {
    const center = await hub();
    const head = { site: 'dc1', size: 2, frontier: [Buffer.alloc(32)], checkpoint: '', heardAt: 1, fault: '' };
    const row = (seq: number) => ({ seq, time: 1, event: 'x', actor: '', target: '', record: '{}' });
    for (const rows of [[row(0)], [row(0), row(2)], [row(1), row(2)]])
      await expect(center.store.transaction((tx) => tx.siteAudit.append(rows, head))).rejects.toMatchObject({ code: 'AUDIT_BROKEN' });
    expect(await center.store.siteAudit.heads()).toEqual([]);
  });

  test('is what the spoke may ask the hub for as a witness', async () => {
    const site = await spoke();
    await site.write(4);
    const center = await hub();
    await center.copies.pull(center.link(site));
    const [, toHub] = pairedSessions({ siteId: 'hub', answers: center.copies.answers }, { siteId: 'dc1', answers: [] });
    const { auditWitness } = await import('../server/spanner/kinds/audit.ts');
    expect(await toHub.request(auditWitness, {})).toEqual({ checkpoint: (await site.store.checkpoints.newest())!.note });
  });
});

describe('a log that is not the one it was', () => {
  async function known(): Promise<{ site: Spoke; center: Hub; before: string[] }> {
    const site = await spoke();
    const center = await hub();
    await site.write(20);
    await center.copies.pull(center.link(site));
    return { site, center, before: await copied(center) };
  }

  test('because another history was signed for the same place', async () => {
    const { center, before } = await known();
    const other = await spoke();
    for (const count of [20, 5]) {
      await other.write(count, 'another history');
      await center.copies.pull(center.link(other));
      expect(center.forks).toHaveLength(count === 20 ? 1 : 2);
      expect(await copied(center)).toEqual(before);
    }
    expect(center.forks[0]).toContain('is not the one that this hub knows');
    expect(await center.store.siteAudit.head('dc1')).toMatchObject({ size: 20, fault: expect.stringContaining('is not the one') });
  });

  test('because its end was cut off', async () => {
    const { center, before } = await known();
    const shorter = await spoke();
    await shorter.write(12);
    await center.copies.pull(center.link(shorter));
    expect([center.forks, await copied(center)]).toEqual([['it has 12 records, of which this hub has seen 20: it was cut'], before]);
    // said once, however often it is read
    await center.copies.pull(center.link(shorter));
    expect(center.forks).toHaveLength(1);
  });

  test('because its checkpoint is signed by another key', async () => {
    const other = await spoke(256, signingKeyFromSeed(Buffer.alloc(32, 6)));
    const center = await hub();
    await other.write(3);
    await center.copies.pull(center.link(other));
    expect([center.forks, await copied(center)]).toEqual([['its checkpoint is not signed by its server'], []]);
  });

  test.each<[string, (records: string[]) => string[], RegExp]>([
    [
      'changed on the way',
      (records) => [records[0]!.replace('envoy.pushed', 'envoy.revoked'), ...records.slice(1)],
      /signed is not the one/,
    ],
    ['left out', (records) => records.slice(1), /not the one of its place/],
    ['added', (records) => [...records, records[0]!], /not the one of its place/],
    ['of another site', (records) => records.map((record) => record.replace('"site":"dc1"', '"site":"eu1"')), /of another site/],
    ['no JSON', (records) => records.map(() => '{'), /no JSON/],
  ])('because a record was %s', async (_name, spoil, why) => {
    const site = await spoke();
    const center = await hub();
    await site.write(5);
    const answer: Answer = {
      ...site.answer,
      async answer(request, asked) {
        const reply = await site.answer.answer(request, asked);
        return { ...reply, data: Buffer.from(JSON.stringify(spoil(JSON.parse(Buffer.from(reply.data!).toString()) as string[]))) };
      },
    };
    await center.copies.pull(center.link({ answer }));
    expect([center.forks.length, await copied(center)]).toEqual([1, []]);
    expect(center.forks[0]).toMatch(why);
    await center.copies.pull(center.link(site));
    expect(await copied(center)).toHaveLength(5);
    expect((await center.store.siteAudit.head('dc1'))?.fault).toBe('');
  });
});
