/** Permits: what the hub signed for this spoke makes one token, and nothing else does. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId } from '../core/base/ids.ts';
import { DELEGATION_SCOPES, type DelegationScope, SPOKE_SCOPES, signDelegation } from '../core/crypto/delegation.ts';
import { newSigningKey } from '../core/crypto/ed25519.ts';
import { type Permit, type SignedPermit, signPermit } from '../core/policy/permit.ts';
import { HubPermits, PERMIT_LIFE_MS } from '../hub/permits.ts';
import { createTrail } from '../server/audit/trail.ts';
import { Bcrypt } from '../server/enroll/bcrypt.ts';
import { EnrollTokens } from '../server/enroll/tokens.ts';
import type { ServerParts } from '../server/parts.ts';
import { permitBatch } from '../server/spanner/kinds/enroll.ts';
import type { Answer, LinkSession } from '../server/spanner/link.ts';
import { pairedSessions } from '../server/spanner/paired.ts';
import { openDatabase } from '../server/store/database.ts';
import type { Store } from '../server/store/store.ts';
import { quietLog } from '../test/fakes/quiet-log.ts';
import { SpokePermits } from './permits.ts';

const FLEET = '01980000-0000-7000-8000-000000000001';
const TESTER = { kind: 'system', id: 'test', name: 'test' } as const;
const dir = mkdtempSync(join(tmpdir(), 'vigo-permits-'));
const root = newSigningKey();
const bcrypt = new Bcrypt();
const opened: Store[] = [];
let now = 1_900_000_000_000;
let count = 0;

/** Keys of a site as the root delegated them. */
function keysOf(siteId: string, scopes: readonly DelegationScope[], by = root, serial: string = newId(now)) {
  const serverKey = newSigningKey();
  const delegation = signDelegation(by, {
    fleet_id: FLEET,
    site_id: siteId,
    server_id: newId(now),
    public_key: Buffer.from(serverKey.publicKey).toString('base64'),
    scopes: [...scopes],
    epoch: 1,
    may_promote: true,
    not_before: 0,
    not_after: 4_000_000_000_000,
    serial,
  });
  return { siteId, fleetId: FLEET, rootPublicKey: root.publicKey, serverKey, delegation };
}

const hubKeys = keysOf('hub', DELEGATION_SCOPES);

async function partsOf(keys: ReturnType<typeof keysOf>, wanted = 3): Promise<ServerParts> {
  const clock = { now: () => now };
  const store = await openDatabase({ driver: 'sqlite', path: join(dir, `${++count}.db`), busyTimeoutMs: 1000, create: true }, now);
  opened.push(store);
  return {
    clock,
    store,
    identity: keys,
    log: quietLog(),
    revocations: { serials: new Set(['out']) },
    settings: { spanner: { offline_enroll_tokens: wanted } },
    trail: createTrail({ clock: clock as never, site: keys.siteId, epoch: () => 1 }),
  } as unknown as ServerParts;
}

interface Pair {
  readonly hub: ServerParts;
  readonly spoke: ServerParts;
  readonly given: HubPermits;
  readonly held: SpokePermits;
  readonly tokens: EnrollTokens;
  link(): Promise<LinkSession>;
  cut(): void;
}

async function pair(wanted = 3, siteId = 'a'): Promise<Pair> {
  const [hub, spoke] = [await partsOf(hubKeys), await partsOf(keysOf(siteId, SPOKE_SCOPES), wanted)];
  let [toSpoke, toHub]: (LinkSession | undefined)[] = [];
  const given = new HubPermits(hub, () => toSpoke);
  const held = new SpokePermits(spoke, () => toHub);
  const tokens = new EnrollTokens({ store: spoke.store, bcrypt, trail: spoke.trail, clock: spoke.clock, cost: 4, pin: '0'.repeat(64) });
  tokens.permits = held;
  return {
    hub,
    spoke,
    given,
    held,
    tokens,
    async link() {
      [toSpoke, toHub] = pairedSessions({ siteId: 'hub', answers: given.answers }, { siteId, answers: held.answers });
      await held.tell(toHub!);
      await given.topUp(toSpoke!);
      return toSpoke!;
    },
    cut() {
      toSpoke?.close('cut');
      toSpoke = undefined;
      toHub = undefined;
    },
  };
}

const make = ({ tokens }: Pair, many = 1, ttlMs = 3_600_000) => tokens.createMany(many, { pattern: '*.a.test', ttlMs }, TESTER);
const audit = async ({ store }: ServerParts, event: string) =>
  (await store.audit.list({ event }, 100)).map(({ record }) => (JSON.parse(record) as { data: Record<string, unknown> }).data);
const batchOf = (answers: readonly Answer[], permits: readonly SignedPermit[]) =>
  answers[0]!.answer(permitBatch.request.parse({ permits, used: [] }), { from: 'hub', signal: new AbortController().signal });

const permit = (more: Partial<Permit> = {}): Permit => ({
  fleet_id: FLEET,
  site_id: 'a',
  permit_id: Buffer.from(newId(now).replaceAll('-', ''), 'hex').toString('hex'),
  not_before: now,
  not_after: now + PERMIT_LIFE_MS,
  ...more,
});

beforeAll(async () => {
  expect(await bcrypt.matches('x', await bcrypt.hash('x', 4))).toBe(true);
});
afterAll(async () => {
  await bcrypt.stop();
  for (const store of opened) await store.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('between hub and spoke', () => {
  test('a link brings as many as are wanted, once, and use brings more', async () => {
    const sites = await pair(3);
    await sites.link();
    expect(await sites.held.left()).toBe(3);
    sites.cut();
    await sites.link();
    expect((await sites.hub.store.permits.usable('a', now)).length).toBe(3);
    const [made] = await make(sites);
    const used = (await sites.spoke.store.tokens.byId(made!.id))!.permit;
    for (let i = 0; i < 100 && (await sites.hub.store.permits.byId(used))!.spentFor === ''; i++)
      await new Promise((go) => setTimeout(go, 10));
    expect(await sites.hub.store.permits.byId(used)).toMatchObject({ spentFor: made!.id, pattern: '*.a.test' });
    await sites.given.topUp(await sites.link());
    expect(await sites.held.left()).toBe(3);
    expect(await audit(sites.hub, 'permit.spent')).toEqual([expect.objectContaining({ permit: used })]);
  });

  test('without a hub they make so many tokens and no more, each lives no longer than its permit, and the hub hears of each once', async () => {
    const sites = await pair(3);
    await sites.link();
    sites.cut();
    now += PERMIT_LIFE_MS - 60_000;
    const made = await make(sites, 3);
    expect(made.map(({ expiresAt }) => expiresAt - now)).toEqual([60_000, 60_000, 60_000]);
    await expect(make(sites)).rejects.toMatchObject({ code: 'PRECONDITION_FAILED', hint: 'the hub gives more when it is back' });
    await sites.link();
    sites.cut();
    await sites.link();
    expect(await audit(sites.hub, 'permit.spent')).toHaveLength(3);
    expect(await audit(sites.hub, 'permit.misused')).toHaveLength(0);
    expect(await sites.held.left()).toBe(3);
  });

  test('too few for all: none is made', async () => {
    const sites = await pair(3);
    await sites.link();
    await expect(make(sites, 4)).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
    expect(await sites.held.left()).toBe(3);
    expect(await sites.spoke.store.tokens.list(10)).toEqual([]);
  });

  test('they end by themselves, and are replaced before they do', async () => {
    const sites = await pair(2);
    await sites.link();
    now += PERMIT_LIFE_MS - 86_400_000;
    await sites.link();
    expect(await sites.held.left()).toBe(4);
    now += 86_400_000;
    expect(await sites.held.left()).toBe(2);
    sites.cut();
    now += PERMIT_LIFE_MS;
    await expect(make(sites)).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
  });

  test('a spoke that claims to hold none gets what it was given again, not more', async () => {
    const sites = await pair(3);
    await sites.link();
    const before = (await sites.hub.store.permits.usable('a', now)).map(({ id }) => id);
    await sites.spoke.store.permits.prune(now + 2 * PERMIT_LIFE_MS);
    await sites.link();
    expect((await sites.hub.store.permits.usable('a', now)).map(({ id }) => id)).toEqual(before);
    expect((await sites.spoke.store.permits.usable('a', now)).map(({ id }) => id)).toEqual(before);
  });

  test('a spoke restored from an old copy learns which are used, and one used for two tokens is recorded', async () => {
    const sites = await pair(2);
    await sites.link();
    const [first] = await sites.spoke.store.permits.usable('a', now);
    sites.cut();
    await sites.hub.store.permits.spend(first!.id, { tokenId: 'before', pattern: '*', at: now });
    await make(sites);
    await sites.link();
    expect(await audit(sites.hub, 'permit.misused')).toEqual([expect.objectContaining({ permit: first!.id, used_for: 'before' })]);
    const again = await pair(2);
    await again.link();
    const [held] = await again.spoke.store.permits.usable('a', now);
    await again.hub.store.permits.spend(held!.id, { tokenId: 'before', pattern: '*', at: now });
    await again.link();
    expect((await again.spoke.store.permits.usable('a', now)).map(({ id }) => id)).not.toContain(held!.id);
    expect(await again.held.left()).toBe(2);
  });

  test('none wanted: none given, and the message says so', async () => {
    const sites = await pair(0);
    await sites.link();
    expect(await sites.hub.store.permits.usable('a', now)).toEqual([]);
    await expect(make(sites)).rejects.toMatchObject({ code: 'PRECONDITION_FAILED', hint: expect.stringContaining('is 0 here') });
  });
});

describe('permits that do not hold', () => {
  const good = () => signPermit(hubKeys, permit());
  const cases: readonly [string, () => SignedPermit][] = [
    ['of another site', () => signPermit(hubKeys, permit({ site_id: 'b' }))],
    ['of another fleet', () => signPermit(hubKeys, permit({ fleet_id: newId(now) }))],
    ['that has run out', () => signPermit(hubKeys, permit({ not_after: now }))],
    ['of tomorrow', () => signPermit(hubKeys, permit({ not_before: now + 86_400_000 }))],
    ['signed by a spoke', () => signPermit(keysOf('a', SPOKE_SCOPES), permit())],
    ['signed under another root', () => signPermit(keysOf('hub', DELEGATION_SCOPES, newSigningKey()), permit())],
    ['under a delegation that is revoked', () => signPermit(keysOf('hub', DELEGATION_SCOPES, root, 'out'), permit())],
    [
      'with a longer life than was signed',
      () => ({ ...good(), record: good().record.replace(/"not_after":\d+/, `"not_after":${now * 2}`) }),
    ],
    ['with the signature of another', () => ({ ...good(), signature: signPermit(hubKeys, permit()).signature })],
    ['that is no JSON', () => ({ ...good(), record: '{' })],
  ];

  test.each(cases)('%s: not taken from the hub', async (_name, forge) => {
    const { held } = await pair();
    await expect(batchOf(held.answers, [forge()])).rejects.toMatchObject({ code: 'BUNDLE_REJECTED' });
    expect(await held.left()).toBe(0);
  });

  test.each(cases)('%s: makes no token when it stands in the table all the same', async (_name, forge) => {
    const sites = await pair();
    const row = { site: 'a', notAfter: now + 1_000_000, spentAt: 0, spentFor: '', pattern: '' };
    await sites.spoke.store.permits.add([{ ...row, id: 'f'.repeat(32), record: JSON.stringify(forge()) }]);
    await expect(make(sites)).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
    expect(await sites.spoke.store.tokens.list(10)).toEqual([]);
  });

  test('a good one under a second id is used once', async () => {
    const sites = await pair();
    const signed = signPermit(hubKeys, permit());
    const row = { site: 'a', notAfter: now + 1_000_000, spentAt: 0, spentFor: '', pattern: '', record: JSON.stringify(signed) };
    const { permit_id: id } = JSON.parse(signed.record) as { permit_id: string };
    await sites.spoke.store.permits.add([
      { ...row, id },
      { ...row, id: 'f'.repeat(32) },
    ]);
    await sites.spoke.store.permits.add([{ ...row, id }]);
    await make(sites);
    await expect(make(sites)).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
  });
});
