/** What every store must do, run on each database by store.test.ts. */
import { expect, test } from '@jest/globals';
import type { EnvoyId } from '../../core/base/ids.ts';
import { newId } from '../../core/base/ids.ts';
import type { RunReport } from '../../core/policy/outcome.ts';
import { noRuns } from '../fleet/convergence.ts';
import type { RolloutRow } from './rollouts.ts';
import type { EnvoyIdentity, EnvoyVolatile, Store, StoredRun } from './store.ts';

const NOW = 1_760_000_000_000;
let made = 0;

export function anEnvoy(more: Partial<EnvoyIdentity> = {}): EnvoyIdentity {
  made += 1;
  const key = Buffer.alloc(32);
  key.writeUInt32BE(made, 0);
  return {
    id: newId(NOW + made),
    hostname: `host${made}.example`,
    identityKey: key,
    sealingKey: Buffer.alloc(32, 7),
    status: 'active',
    ownerEpoch: 1,
    enrolledAt: NOW,
    certificateExpiresAt: NOW + 1000,
    platform: 'linux/x64',
    agentVersion: '0.1.0',
    address: '192.0.2.1',
    labels: { site: 'a', __proto__x: 'b' },
    reason: '',
    ...more,
  };
}

function volatile(id: EnvoyId, sequence: number): EnvoyVolatile {
  return {
    ...noRuns(),
    id,
    sequence,
    lastSeen: NOW + sequence,
    release: 3,
    policyHash: 'ab',
    secretsEpoch: 2,
    heldSeq: Number.MAX_SAFE_INTEGER,
    heldHeaderHash: "c'd",
    traitsHash: 'ef',
    flags: 5,
    runState: 'relapsed',
    streak: 2,
    clean: true,
    resetPending: false,
  };
}

function aRun(subject: EnvoyId, runId: string, more: Partial<RunReport> = {}): StoredRun {
  const outcome = { module: 'm', name: 'n', type: 'file', duration_ms: 1.5, triggered: false, would: false, changes: [] };
  const report: RunReport = {
    run_id: runId,
    body_hash: 'aa',
    release: 1,
    owner_epoch: 1,
    epoch: 1,
    seq: 1,
    started_at: NOW + 0.5,
    ended_at: NOW + 10,
    mode: 'enforce',
    flags: ['stale_bundle'],
    outcomes: [
      { ...outcome, action: 'updated', message: 'nul \u0000 here' },
      { ...outcome, action: 'none' },
    ],
    ...more,
  };
  return { subject, hostname: 'h', receivedAt: NOW, report };
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

export function storeContract(open: () => Store): void {
  test('keeps an envoy as it was given and fresh volatile columns', async () => {
    const envoy = anEnvoy();
    await open().envoys.insert(envoy);
    const row = await open().envoys.byId(envoy.id);
    expect({ ...row, identityKey: [...row!.identityKey] }).toMatchObject({
      ...envoy,
      identityKey: [...envoy.identityKey],
      sealingKey: expect.anything(),
      ...noRuns(),
      sequence: 0,
    });
    expect((await open().envoys.byHostname(envoy.hostname))?.id).toBe(envoy.id);
    expect(await open().envoys.byHostname('nobody.example')).toBeUndefined();
  });

  test('one active envoy a hostname, one envoy a key, for good', async () => {
    const first = anEnvoy();
    await open().envoys.insert(first);
    await expect(open().envoys.insert(anEnvoy({ hostname: first.hostname }))).rejects.toMatchObject({ code: 'HOSTNAME_TAKEN' });
    const waiting = anEnvoy({ hostname: first.hostname, status: 'pending' });
    await open().envoys.insert(waiting);
    await expect(open().envoys.setStatus(waiting.id, 'active', '')).rejects.toMatchObject({ code: 'HOSTNAME_TAKEN' });
    expect(await open().envoys.setStatus(first.id, 'revoked', 'lost')).toBe(true);
    expect(await open().envoys.setStatus(waiting.id, 'active', '')).toBe(true);
    expect((await open().envoys.byHostname(first.hostname))?.id).toBe(waiting.id);
    expect(await open().envoys.remove(first.id)).toBe(true);
    expect(await open().envoys.remove(first.id)).toBe(false);
    await expect(open().envoys.insert(anEnvoy({ identityKey: first.identityKey }))).rejects.toMatchObject({ code: 'KEY_ALREADY_ENROLLED' });
  });

  test('saves volatile columns in batches, twice the same, and ignores envoys that are gone', async () => {
    const envoys = Array.from({ length: 1100 }, () => anEnvoy());
    await open().transaction(async (tx) => {
      for (const envoy of envoys) await tx.envoys.insert(envoy);
    });
    await open().envoys.saveBatch([...envoys.map(({ id }) => volatile(id, 4)), volatile(newId(1), 9)]);
    await open().envoys.saveBatch(envoys.map(({ id }) => volatile(id, 5)));
    await open().envoys.saveBatch([]);
    expect(await open().envoys.byId(envoys[0]!.id)).toMatchObject(volatile(envoys[0]!.id, 5));
    const ours = new Set(envoys.map(({ id }) => id));
    const all = (await collect(open().envoys.all())).filter(({ id }) => ours.has(id));
    expect(all).toHaveLength(1100);
    expect(all.every(({ sequence }) => sequence === 5)).toBe(true);
    const id = envoys[1]!.id;
    expect(await open().envoys.update(id, { labels: { a: 'b' }, certificateExpiresAt: 77 })).toBe(true);
    expect(await open().envoys.byId(id)).toMatchObject({ labels: { a: 'b' }, certificateExpiresAt: 77, platform: 'linux/x64' });
    expect(await open().envoys.update(newId(1), { address: 'x' })).toBe(false);
  });

  test('merges trait deltas in order and asks for the full set when the base is another', async () => {
    const [a, b] = [anEnvoy(), anEnvoy()];
    await open().envoys.insert(a);
    await open().envoys.insert(b);
    const odd = { ['__proto__' as string]: 1 };
    const full = { envoyId: a.id, hash: 'h1', full: true, set: { os: { family: 'debian' }, gone: 1, ...odd }, removed: [] };
    const delta = { envoyId: a.id, baseHash: 'h1', hash: 'h2', full: false, set: { cpu: [1, null] }, removed: ['gone'] };
    const wrong = { envoyId: b.id, baseHash: 'h0', hash: 'h1', full: false, set: { os: 1 }, removed: [] };
    const stranger = { ...full, envoyId: newId(1) };
    expect(await open().traits.mergeBatch([full, delta, wrong, stranger])).toEqual([b.id]);
    expect(await open().traits.of(a.id)).toEqual({ hash: 'h2', traits: { os: { family: 'debian' }, cpu: [1, null], ...odd } });
    expect(await open().traits.of(b.id)).toBeUndefined();
    const next = { ...delta, baseHash: 'h2', hash: 'h3', set: {}, removed: ['cpu'] };
    expect(await open().traits.mergeBatch([next, { ...next, baseHash: 'h2' }])).toEqual([a.id]);
    expect(Object.keys((await open().traits.of(a.id))!.traits)).not.toContain('cpu');
    expect((await collect(open().traits.collector('os'))).find((row) => row.envoyId === a.id)?.value).toEqual({ family: 'debian' });
    await open().traits.mergeBatch([{ ...full, hash: 'h9', set: { only: true } }]);
    expect((await open().traits.of(a.id))?.traits).toEqual({ only: true });
    await open().traits.remove(a.id);
    expect(await open().traits.of(a.id)).toBeUndefined();
  });

  test('of a hundred parallel uses of one token exactly one enrols', async () => {
    const token = {
      id: newId(NOW),
      secretHash: 'x',
      pattern: '*',
      environment: '',
      labels: {},
      note: '',
      spoke: '',
      permit: '',
      createdBy: 'admin',
      createdAt: NOW,
      expiresAt: NOW + 1000,
    };
    await open().tokens.add(token);
    const enrol = async () => {
      const envoy = anEnvoy();
      return open().transaction(async (tx) => {
        const use = { envoyId: envoy.id, hostname: envoy.hostname, keyFingerprint: 'ff', address: '192.0.2.9', at: NOW + 1, site: '' };
        await tx.envoys.insert(envoy);
        const head = await tx.audit.head();
        const row = { seq: head.size, time: NOW, event: 'token.spent', actor: 'x', target: envoy.id, record: '{}' };
        await tx.audit.append(row, { size: head.size + 1, frontier: [] });
        if (!(await tx.tokens.spend(token.id, use))) throw new Error('already spent');
        return envoy.id;
      });
    };
    const before = await open().audit.count();
    const results = await Promise.allSettled(Array.from({ length: 100 }, enrol));
    const winners = results.filter((result) => result.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    expect((await open().tokens.byId(token.id))?.spent?.envoyId).toBe(winners[0]!.value);
    expect(await open().audit.count()).toBe(before + 1);
    expect(await open().tokens.revoke(token.id, NOW)).toBe(false);
  });

  test('expired and revoked tokens cannot be spent', async () => {
    const base = {
      secretHash: 'x',
      pattern: '*',
      environment: 'e',
      labels: { a: 'b' },
      note: 'n',
      spoke: 'x',
      permit: 'p',
      createdBy: 'c',
      createdAt: NOW,
    };
    const expired = { ...base, id: newId(NOW + 1), expiresAt: NOW };
    const revoked = { ...base, id: newId(NOW + 2), expiresAt: NOW + 9 };
    await open().tokens.add(expired);
    await open().tokens.add(revoked);
    expect(await open().tokens.revoke(revoked.id, NOW)).toBe(true);
    const use = { envoyId: newId(1), hostname: 'h', keyFingerprint: 'ff', address: 'a', at: NOW, site: '' };
    expect(await open().tokens.spend(expired.id, use)).toBe(false);
    expect(await open().tokens.spend(revoked.id, use)).toBe(false);
    expect(await open().tokens.spend('nobody', use)).toBe(false);
    expect((await open().tokens.list(2))[0]).toEqual({ ...revoked, revokedAt: NOW, spent: undefined });
    expect((await open().tokens.list(1, revoked.id))[0]?.id).toBe(expired.id);
    expect(await open().tokens.prune(NOW + 1)).toBeGreaterThanOrEqual(1);
    expect(await open().tokens.byId(expired.id)).toBeUndefined();
  });

  test('keeps a run once, by envoy and run id, and thins details before summaries', async () => {
    const [a, b] = [newId(NOW), newId(NOW)];
    const [one, two] = [newId(NOW), newId(NOW)];
    const dry = { ...aRun(a, two, { mode: 'dry_run', outcomes: [], partial: 'filtered' }), receivedAt: NOW + 50 };
    expect(await open().runs.appendBatch([aRun(a, one), aRun(a, one), dry])).toEqual(new Set([`${a} ${one}`]));
    // the same id of another envoy is another run
    expect(await open().runs.appendBatch([aRun(a, one, { release: 9 }), aRun(b, one)])).toEqual(new Set([`${a} ${one}`]));
    const found = await open().runs.byId(one);
    expect(found.map((run) => run.summary.subject)).toEqual([a, b]);
    expect(found[0]!.report).toEqual(aRun(a, one).report);
    expect(found[0]!.summary).toMatchObject({ ok: 1, changed: 1, failed: 0, release: 1, startedAt: NOW, flags: ['stale_bundle'] });
    const ids = async (filter: Parameters<Store['runs']['list']>[0]) => (await open().runs.list(filter, 10)).map((run) => run.runId);
    expect(await ids({ subject: a })).toEqual([two, one]);
    expect(await ids({ subject: a, changed: true })).toEqual([one]);
    expect(await ids({ subject: a, failed: true })).toEqual([]);
    expect(await ids({ subject: a, mode: 'dry_run' })).toEqual([two]);
    const [newest] = await open().runs.list({ subject: a }, 1);
    expect(await ids({ subject: a, before: newest!.position })).toEqual([one]);
    expect(await open().runs.retain(NOW + 1, 0)).toBe(2);
    expect(await open().runs.byId(one)).toHaveLength(2);
    expect((await open().runs.byId(one))[0]!.report).toBeUndefined();
    expect(await open().runs.retain(NOW + 1, NOW + 1)).toBe(2);
    expect(await ids({ subject: a })).toEqual([two]);
  });

  test('a failed transaction leaves nothing behind', async () => {
    const envoy = anEnvoy();
    const before = await open().counters.get('undone');
    await expect(
      open().transaction(async (tx) => {
        await tx.envoys.insert(envoy);
        await tx.counters.next('undone');
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await open().envoys.byId(envoy.id)).toBeUndefined();
    expect(await open().counters.get('undone')).toBe(before);
  });

  test('counters only grow and never repeat', async () => {
    const numbers = await Promise.all(Array.from({ length: 20 }, () => open().counters.next('release')));
    expect(new Set(numbers).size).toBe(20);
    expect(await open().counters.next('release', 100)).toBe(100);
    expect(await open().counters.next('release', 5)).toBe(101);
    expect(await open().counters.raise('seq', 50)).toBe(50);
    expect(await open().counters.raise('seq', 40)).toBe(50);
    const [x, y] = [await open().counters.numberOf('epoch', 'x'), await open().counters.numberOf('epoch', 'y')];
    expect(y).toBeGreaterThan(x);
    expect(await open().counters.numberOf('epoch', 'x')).toBe(x);
  });

  test('refuses an audit record that is not the next, and lists by filter', async () => {
    const { audit } = open();
    const { size } = await audit.head();
    const row = { seq: size, time: NOW, event: 'config.published', actor: 'u', target: 't', record: '{"a":1}' };
    await audit.append(row, { size: size + 1, frontier: [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] });
    const head = await audit.head();
    expect(head.frontier.map((root) => root[0])).toEqual([1, 2]);
    await expect(audit.append({ ...row, seq: size + 2 }, { size: size + 3, frontier: [] })).rejects.toMatchObject({ code: 'AUDIT_BROKEN' });
    await expect(audit.append(row, { size: size + 1, frontier: [] })).rejects.toMatchObject({ code: 'AUDIT_BROKEN' });
    expect(await collect(audit.read(size))).toEqual([row]);
    expect(await collect(audit.read(size, size))).toEqual([]);
    expect(await audit.list({ event: 'config.' }, 1)).toEqual([row]);
    expect(await audit.list({ event: 'configx.' }, 1)).toEqual([]);
    expect(await audit.list({ actor: 'u', target: 't', since: NOW, until: NOW + 1, event: 'config.published' }, 5)).toEqual([row]);
    expect(await audit.list({ actor: 'u', before: size }, 5)).toEqual([]);
    const checkpoint = { size: 3, time: NOW, note: 'n', frontier: [Buffer.alloc(32, 4), Buffer.alloc(32, 5)] };
    await open().checkpoints.add(checkpoint);
    await open().checkpoints.add({ ...checkpoint, note: 'other' });
    expect(await open().checkpoints.newest()).toEqual(checkpoint);
    expect(await open().checkpoints.newest(2)).toBeUndefined();
    expect(await open().checkpoints.list(4, 5)).toEqual([]);
  });

  test('keeps the publish history, one release live', async () => {
    const row = {
      number: 1,
      version: 'v',
      root: 'r',
      author: 'a',
      approver: '',
      message: 'm',
      createdAt: NOW,
      files: { added: 1, changed: 2, removed: 3 },
      entriesAffected: 1,
      envoysAffected: 2,
      warnings: 0,
      flags: ['dangerous' as const],
      rollbackOf: 0,
      result: 'live' as const,
    };
    await open().releases.add(row);
    await open().releases.add({ ...row, number: 2, rollbackOf: 1, watch: { baseline: 1, lowest: 0.5, final: 1 } });
    await open().releases.makeLive(2);
    expect(await open().releases.byNumber(1)).toEqual({ ...row, result: 'superseded', watch: undefined });
    expect((await open().releases.list(5)).map((each) => [each.number, each.result])).toEqual([
      [2, 'live'],
      [1, 'superseded'],
    ]);
    expect(await open().releases.update(2, { result: 'auto_rolled_back' })).toBe(true);
    expect((await open().releases.list(5, 2)).map((each) => each.number)).toEqual([1]);
    await expect(open().releases.add(row)).rejects.toThrow();
  });

  test('keeps users and their tokens', async () => {
    const user = {
      id: newId(NOW),
      username: 'alice',
      displayName: 'A',
      email: '',
      role: 'admin',
      enabled: true,
      passwordHash: '',
      scope: {},
      createdAt: NOW,
      lastLoginAt: 0,
    };
    await open().users.add(user);
    await expect(open().users.add({ ...user, id: newId(NOW) })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    expect(await open().users.byName('alice')).toEqual(user);
    await open().users.update(user.id, { enabled: false, scope: { spokes: ['a'] } });
    expect(await open().users.byId(user.id)).toMatchObject({ enabled: false, scope: { spokes: ['a'] }, role: 'admin' });
    const token = { id: 't1', name: 'ci', userId: user.id, secretHash: 'h', scopes: ['fleet.read'], createdAt: NOW, expiresAt: NOW + 5 };
    await open().apiTokens.add(token);
    await open().apiTokens.used('t1', NOW + 1, '192.0.2.1');
    expect(await open().apiTokens.byId('t1')).toEqual({ ...token, lastUsedAt: NOW + 1, lastUsedFrom: '192.0.2.1' });
    expect(await open().apiTokens.list(user.id)).toHaveLength(1);
    expect(await open().users.remove(user.id)).toBe(true);
    expect(await open().apiTokens.byId('t1')).toBeUndefined();
    expect(await open().users.list()).toEqual([]);
  });

  test('a rollout is kept as it was saved last; the newest is the one that counts', async () => {
    const { rollouts } = open();
    const row: RolloutRow = {
      number: 7,
      former: 6,
      state: 'running',
      ring: 0,
      rings: [{ name: 'a', spoke: 'dc1', soakMs: 1000, minOkPct: 95 }],
      baseline: undefined,
      error: '',
      startedAt: NOW,
      changedAt: NOW,
    };
    await rollouts.save(row);
    const soaking = { ...row, baseline: { envoys: 3, good: 2, silent: 1, soakingSince: NOW } };
    await rollouts.save(soaking);
    expect(await rollouts.newest()).toEqual(soaking);
    await rollouts.save({ ...row, number: 9, state: 'done' });
    expect((await rollouts.newest())?.number).toBe(9);
    await rollouts.remove(9);
    expect(await rollouts.newest()).toEqual(soaking);
  });

  test('copies of audit logs grow without hole or double, each site for itself', async () => {
    const row = (seq: number) => ({ seq, time: NOW + seq, event: `envoy.e${seq}`, actor: 'alice', target: 't', record: `{"seq":${seq}}` });
    const head = (site: string, size: number) => ({
      site,
      size,
      frontier: [Buffer.alloc(32, size)],
      checkpoint: `note ${size}`,
      heardAt: NOW,
      fault: '',
    });
    const append = (site: string, rows: number[], size: number) =>
      open().transaction((tx) => tx.siteAudit.append(rows.map(row), head(site, size)));
    await append('dc1', [0, 1, 2], 3);
    await append('eu1', [0], 1);
    await append('dc1', [3], 4);
    // the same again, and one left out
    for (const [rows, size] of [
      [[3], 4],
      [[5], 5],
      [[4, 6], 6],
    ] as const)
      await expect(append('dc1', [...rows], size)).rejects.toMatchObject({ code: 'AUDIT_BROKEN' });
    await append('dc1', [], 4);
    const { siteAudit } = open();
    expect(await siteAudit.head('dc1')).toEqual(head('dc1', 4));
    expect((await siteAudit.heads()).map(({ site, size }) => [site, size])).toEqual([
      ['dc1', 4],
      ['eu1', 1],
    ]);
    expect((await siteAudit.list('dc1', { before: 3, event: 'envoy.' }, 2)).map(({ seq }) => seq)).toEqual([2, 1]);
    expect(await siteAudit.list('dc1', { event: 'envoy.e3' }, 9)).toEqual([row(3)]);
    expect(await siteAudit.head('xx')).toBeUndefined();
  });
}
