/** Envoys that come and go, on a real site: what a grant does, what may be repeated, what a crash leaves, and what is refused. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { CodedError } from '../../core/base/errors.ts';
import { type EnvoyId, newId } from '../../core/base/ids.ts';
import { newSigningKey } from '../../core/crypto/ed25519.ts';
import { newSealingKey } from '../../core/crypto/hpke.ts';
import { type SignedGrant, signGrant } from '../../core/policy/ownership.ts';
import { eventually } from '../../test/harness/eventually.ts';
import { type TestEnvoy, TestSite, testRelease } from '../../test/harness/test-site.ts';
import type { IdentityRecord } from '../spanner/identity-record.ts';

const site = new TestSite();
const parts = () => site.server.parts;
let next = Date.now() * 10;

/** of this site's own authority: a stand-alone server may sign grants as a hub does */
function grant(envoyId: string, siteId: string, ownerEpoch: number): SignedGrant {
  const { identity } = parts();
  return signGrant(identity, {
    fleet_id: identity.fleetId,
    envoy_id: envoyId,
    site_id: siteId,
    owner_epoch: ownerEpoch,
    servers: ['owner.example.com:1530'],
    fallback_servers: [],
    api_url: 'https://owner.example.com:8443',
    issued_at: Date.now(),
  });
}

async function code(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'OK';
  } catch (thrown) {
    if (thrown instanceof CodedError) return thrown.code;
    throw thrown;
  }
}

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const idOf = (envoy: TestEnvoy) => envoy.identity.envoyId as EnvoyId;

/** Somebody of another site, who did as `like` did. */
function stranger(hostname: string, like: IdentityRecord): IdentityRecord & { readonly id: EnvoyId } {
  const id = newId(Date.now());
  const keys = { identity_key: base64(newSigningKey().publicKey), sealing_key: base64(newSealingKey().publicKey) };
  return { ...like, id, identity: { ...like.identity, ...keys, envoy_id: id, hostname } };
}

async function checkIn(envoy: TestEnvoy, more: Parameters<TestSite['header']>[2] = {}): Promise<string> {
  return (await site.raw(envoy, site.checkInBytes(envoy, site.header(envoy, ++next, more)))).code || 'OK';
}

beforeAll(async () => {
  await site.init();
  await site.start();
});

afterAll(async () => {
  await site.close();
});

describe('an envoy that leaves', () => {
  test('is led to its owner from that moment on, also after a restart, also when it is forgotten', async () => {
    const envoy = await site.enroll('leaves.x.y');
    expect(await checkIn(envoy)).toBe('OK');
    await parts().ownership.depart(idOf(envoy), grant(idOf(envoy), 'dc2', 2));
    expect(await checkIn(envoy)).toBe('REDIRECT');
    expect(parts().fleet.slotOfHostname('leaves.x.y')).toBe(-1);
    await site.stop();
    await site.start();
    expect(await checkIn(envoy)).toBe('REDIRECT');
    await parts().ownership.forget(idOf(envoy), 2);
    expect(await parts().store.envoys.byId(idOf(envoy))).toBeUndefined();
    expect(await checkIn(envoy)).toBe('REDIRECT');
  });

  test('takes a revocation along that came after its copy', async () => {
    const envoy = await site.enroll('revoked.x.y');
    const { ownership, store, fleet } = parts();
    const copy = await ownership.export(idOf(envoy));
    expect(copy.identity.status).toBe('active');
    await store.envoys.setStatus(idOf(envoy), 'revoked', 'stolen');
    fleet.revoke(fleet.slotOf(idOf(envoy)));
    const late = await ownership.depart(idOf(envoy), grant(idOf(envoy), 'dc2', 2));
    expect(late.identity).toMatchObject({ status: 'revoked', reason: 'stolen' });
    // said again after a crash, the answer is the same
    expect((await ownership.depart(idOf(envoy), grant(idOf(envoy), 'dc2', 2))).identity).toMatchObject({ status: 'revoked' });
    // and the new owner refuses it
    const arriving = stranger('revoked2.x.y', copy);
    await ownership.prepare(arriving, 5);
    await ownership.activate(arriving.id, grant(arriving.id, parts().identity.siteId, 5));
    await ownership.late(arriving.id, { ...late, identity: { ...arriving.identity, status: 'revoked', reason: 'stolen' } });
    expect(fleet.view(fleet.slotOf(arriving.id)).revoked).toBe(true);
    expect((await store.envoys.byId(arriving.id))?.status).toBe('revoked');
  });

  test.each([
    ['the epoch it is owned by here', 1, 'dc2', 'BUNDLE_REJECTED'],
    ['this very site', 2, 'main', 'BUNDLE_REJECTED'],
  ])('a grant for %s is refused', async (_name, epoch, to, expected) => {
    const envoy = await site.enroll(`refused-${epoch}.x.y`);
    expect(await code(parts().ownership.depart(idOf(envoy), grant(idOf(envoy), to, epoch)))).toBe(expected);
    expect(await checkIn(envoy)).toBe('OK');
  });

  test('a grant by a key without the scope `redirect`, a changed one and one of another envoy are refused', async () => {
    const envoy = await site.enroll('forged.x.y');
    const good = grant(idOf(envoy), 'dc2', 2);
    const other = newSigningKey();
    const forged = signGrant({ serverKey: other, delegation: good.delegation }, JSON.parse(good.record) as never);
    const changed = { ...good, record: good.record.replace('dc2', 'dc3') };
    for (const bad of [forged, changed, grant(newId(Date.now()), 'dc2', 2)])
      expect(await code(parts().ownership.depart(idOf(envoy), bad))).toBe('BUNDLE_REJECTED');
    expect(await checkIn(envoy)).toBe('OK');
  });
});

describe('an envoy that arrives', () => {
  let like: IdentityRecord;
  beforeAll(async () => {
    like = await parts().ownership.export(idOf(await site.enroll('pattern.x.y')));
  });

  test('is not served before the grant, and confirmed by its first check-in, also where no release is live', async () => {
    const envoy = await site.enroll('returns.x.y');
    const { ownership, store } = parts();
    const record = await ownership.export(idOf(envoy));
    await ownership.depart(idOf(envoy), grant(idOf(envoy), 'dc2', 2));
    await ownership.forget(idOf(envoy), 2);
    await ownership.prepare(record, 3);
    expect(await checkIn(envoy, { owner_epoch: 3 })).toBe('REDIRECT');
    await ownership.activate(idOf(envoy), grant(idOf(envoy), parts().identity.siteId, 3));
    // twice is once
    await ownership.activate(idOf(envoy), grant(idOf(envoy), parts().identity.siteId, 3));
    expect((await store.ownerships.of(idOf(envoy)))?.state).toBe('arrived');
    expect(await checkIn(envoy, { owner_epoch: 3 })).toBe('OK');
    await eventually(async () => expect((await ownership.confirmations.pending()).map(({ envoyId }) => envoyId)).toContain(idOf(envoy)));
    await ownership.confirmations.done(idOf(envoy), 3);
    expect((await store.ownerships.of(idOf(envoy)))?.state).toBe('owned');
  });

  test('holds its name from the moment it is announced', async () => {
    const { ownership } = parts();
    const record = stranger('named.x.y', like);
    await ownership.prepare(record, 5);
    expect(await code(site.enroll('named.x.y', 'named-2'))).toBe('HOSTNAME_TAKEN');
    await ownership.activate(record.id, grant(record.id, parts().identity.siteId, 5));
    expect(parts().fleet.slotOfHostname('named.x.y')).toBe(parts().fleet.slotOf(record.id));
  });

  test('meets another of its name: the one that moves is served, the other waits for a person', async () => {
    const { ownership, store } = parts();
    const there = await site.enroll('twins.x.y');
    const record = stranger('twins.x.y', like);
    expect(await code(ownership.prepare(record, 5))).toBe('HOSTNAME_TAKEN');
    // enrolled in between: kept both, nothing is stuck after the hub has committed
    await store.ownerships.put({
      envoyId: record.id,
      state: 'arriving',
      ownerEpoch: 5,
      grant: '',
      record: JSON.stringify(record),
      at: Date.now(),
    });
    await ownership.activate(record.id, grant(record.id, parts().identity.siteId, 5));
    expect((await store.envoys.byId(record.id))?.status).toBe('active');
    expect(await store.envoys.byId(idOf(there))).toMatchObject({ status: 'pending', reason: expect.stringContaining('moved here') });
  });

  test('keeps what its former owner took late, in the store too', async () => {
    const { ownership, store, fleet } = parts();
    const record = stranger('late.x.y', like);
    await ownership.prepare(record, 5);
    await ownership.activate(record.id, grant(record.id, parts().identity.siteId, 5));
    const volatile = { ...like.volatile, sequence: 999_999, run_state: 'relapsed' as const, streak: 1 };
    await ownership.late(record.id, { identity: null, volatile, runs: [] });
    expect(await store.envoys.byId(record.id)).toMatchObject({ sequence: 999_999, runState: 'relapsed' });
    expect(fleet.get(record.id)).toMatchObject({ sequence: 999_999, runState: 'relapsed' });
  });

  test('undone, it is not here, and the way to its owner is what it was', async () => {
    const envoy = await site.enroll('undone.x.y');
    const { ownership, store } = parts();
    const record = await ownership.export(idOf(envoy));
    await ownership.depart(idOf(envoy), grant(idOf(envoy), 'dc2', 2));
    await ownership.prepare(record, 3);
    await ownership.prepare(record, 4);
    expect(await ownership.redirectOf(idOf(envoy))).toBeDefined();
    await ownership.undo(idOf(envoy), 4);
    expect(await store.ownerships.of(idOf(envoy))).toMatchObject({ state: 'departed', ownerEpoch: 2 });
    expect(await checkIn(envoy)).toBe('REDIRECT');
    const never = stranger('never.x.y', like);
    await ownership.prepare(never, 3);
    await ownership.undo(never.id, 3);
    expect(await store.ownerships.of(never.id)).toBeUndefined();
    expect(ownership.announces('never.x.y')).toBe(false);
  });

  test('a request meant for its former site is answered with its grant, a good one is not', async () => {
    const record = stranger('stray.x.y', like);
    const { ownership } = parts();
    await ownership.prepare(record, 5);
    await ownership.activate(record.id, grant(record.id, parts().identity.siteId, 5));
    expect(await ownership.redirectOf(record.id, true)).toBeDefined();
    expect(await ownership.redirectOf(record.id)).toBeUndefined();
  });

  test('with a lower epoch than is known here, it is refused', async () => {
    const envoy = await site.enroll('stale.x.y');
    const { ownership } = parts();
    const record = await ownership.export(idOf(envoy));
    expect(await code(ownership.prepare(record, 1))).toBe('STALE_EPOCH');
  });
});

describe('epochs and fences', () => {
  test('an envoy that has seen a higher epoch than ours is sent on, alone', async () => {
    const [ahead, other] = [await site.enroll('ahead.x.y'), await site.enroll('other.x.y')];
    expect(await checkIn(ahead, { owner_epoch: 7 })).toBe('RETRY_ELSEWHERE');
    expect(await checkIn(other)).toBe('OK');
  });

  test('headers carry the epoch of the site, whatever the envoy says', async () => {
    const envoy = await site.enroll('header.x.y');
    await parts().releases.use(testRelease(1, { a: 1 }));
    const reply = await envoy.link.checkIn(
      {
        ...{ release: 0, bodySchema: 0, policyHash: '', heldHeaderHash: '', heldSeq: 0, highestEpoch: 0, ownerEpoch: 0, secretsEpoch: 0 },
        ...{ traits: { hash: '', full: false, set: {}, removed: [] }, pendingResults: 0, mode: 'enforce', flags: [], authorityHash: '' },
        ...{ renew: false, bundleRejected: '' },
      } as never,
      new AbortController().signal,
    );
    if (reply.kind !== 'bundle') throw new Error(reply.kind);
    expect(JSON.parse(Buffer.from(reply.header.record).toString('utf8'))).toMatchObject({ owner_epoch: 1, site_id: 'main' });
  });

  test('a fenced site serves and enrols nobody, over a restart, until the fence is taken away', async () => {
    const envoy = await site.enroll('fenced.x.y');
    await parts().ownership.fence(true);
    expect(await checkIn(envoy)).toBe('RETRY_ELSEWHERE');
    expect(await code(site.enroll('fenced2.x.y'))).toBe('SPOKE_UNAVAILABLE');
    await site.stop();
    await site.start();
    expect(await checkIn(envoy)).toBe('RETRY_ELSEWHERE');
    await parts().ownership.fence(false);
    expect(await checkIn(envoy)).toBe('OK');
  });
});
