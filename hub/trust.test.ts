/** Trust between hub and spokes as time goes by: delegations renew over the link, a removed spoke is out everywhere at once, envoys hear of it. */
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { systemClock } from '../core/base/clock.ts';
import { type Delegation, openDelegation, openRevocation, signRevocation } from '../core/crypto/delegation.ts';
import { newSigningKey } from '../core/crypto/ed25519.ts';
import { codecs } from '../proto/load.ts';
import { openIdentity } from '../server/identity/server-identity.ts';
import { delegateSpoke } from '../server/identity/sign-spoke.ts';
import { renewIdentityKind } from '../server/spanner/kinds/trust.ts';
import { trustAnswers } from '../server/spanner/site/trust.ts';
import type { HubLink } from '../spoke/hub-link.ts';
import { renewIdentity } from '../spoke/renewal.ts';
import { quietLog } from '../test/fakes/quiet-log.ts';
import { eventually } from '../test/harness/eventually.ts';
import { dialler, joinedSpoke, makeHub, type SpokeKeys, type TestHub } from '../test/harness/linked-sites.ts';
import { type TestEnvoy, testRelease } from '../test/harness/test-site.ts';

const DAY = 86_400_000;
const TESTER = { kind: 'system', id: 'test', name: 'test' } as const;
let hub: TestHub;
const links: HubLink[] = [];

beforeAll(async () => {
  hub = await makeHub([]);
  hub.exchange = (session) => hub.trust.exchange(session);
}, 30_000);
afterAll(async () => {
  for (const link of links) await link.stop();
  await hub.close();
});

function start(keys: SpokeKeys, revoked: string[] = []): HubLink {
  const link = dialler(hub.address, keys, { answers: trustAnswers(keys), revoked: (reason) => revoked.push(reason) });
  links.push(link);
  link.start();
  return link;
}

const serial = ({ identity }: SpokeKeys) => (JSON.parse(identity.delegation.record) as Delegation).serial;

/** What the renewal needs of a spoke, at another time. */
function renewing(keys: SpokeKeys, days: number, told: string[] = []) {
  const clock = { ...systemClock, now: () => Date.now() + days * DAY };
  return {
    clock,
    identity: keys.identity,
    paths: keys.paths,
    log: quietLog(),
    rpc: { useDelegation: ({ record }: { record: string }) => told.push(record) },
  } as unknown as Parameters<typeof renewIdentity>[0];
}

test('a delegation renews over the link when two thirds are over, not before, and the CA with it when it is due', async () => {
  const keys = await joinedSpoke(hub, 'dc1');
  const link = start(keys);
  const session = await eventually(() => link.session);
  const first = serial(keys);
  expect(await renewIdentity(renewing(keys, 59), session)).toBe(false);
  const told: string[] = [];
  expect(await renewIdentity(renewing(keys, 61, told), session)).toBe(true);
  expect([serial(keys) === first, told]).toEqual([false, [keys.identity.delegation.record]]);
  const ca = readFileSync(join(keys.paths.tls, 'site-ca.pem'), 'utf8');
  expect(await renewIdentity(renewing(keys, 4 * 365), session)).toBe(true);
  expect(readFileSync(join(keys.paths.tls, 'site-ca.pem'), 'utf8')).not.toBe(ca);
  // what was written opens, also when it has run out meanwhile
  const names = { dns: ['localhost'], ips: [] };
  const opened = await openIdentity(keys.paths, { names, certDays: 30, now: Date.now() + 200 * DAY });
  expect(opened.delegation).toEqual(keys.identity.delegation);
  expect(openDelegation(opened.rootPublicKey, opened.fleetId, opened.delegation).delegation.scopes).toEqual(['bundle', 'audit', 'enroll']);
  const { keys: folder } = hub.parts.paths;
  renameSync(join(folder, 'root.key'), join(folder, 'away'));
  await expect(renewIdentity(renewing(keys, 61), session)).rejects.toMatchObject({ code: 'NOT_READY' });
  renameSync(join(folder, 'away'), join(folder, 'root.key'));
  await link.stop();
});

/** The revocations that the hub's envoy is told at its next check-in. */
async function toldTo(envoy: TestEnvoy, sequence: number): Promise<readonly string[]> {
  const reply = await hub.site.raw(envoy, hub.site.checkInBytes(envoy, hub.site.header(envoy, sequence)));
  const { signed } = codecs.checkInReply.decode(reply.message);
  const { authority } = codecs.signedAnswer.decode(signed!.payload);
  const { revoked } = JSON.parse(Buffer.from(authority).toString()) as { revoked: { record: string; signature: string }[] };
  return revoked.map((record) => openRevocation(hub.parts.identity.rootPublicKey, record).serial);
}

test('a removed spoke loses its link and is refused; other spokes and envoys know its serials at once, and keep them', async () => {
  const [gone, stays] = [await joinedSpoke(hub, 'gone'), await joinedSpoke(hub, 'stays')];
  const told: string[] = [];
  const [goneLink, staysLink] = [start(gone, told), start(stays)];
  const session = await eventually(() => goneLink.session);
  await eventually(() => staysLink.session);
  const before = serial(gone);
  await renewIdentity(renewing(gone, 61), session);
  await hub.parts.releases.use(testRelease(1, { a: 1 }));
  const envoy = await hub.site.enroll('web1.example.com');
  expect(await toldTo(envoy, 10)).toEqual([]);

  await expect(hub.spokes.remove('gone', TESTER, 'r')).rejects.toMatchObject({ code: 'DRAIN_NOT_EMPTY' });
  await hub.sites.change('gone', { state: 'drained' });
  const serials = [serial(gone), before];
  expect(await hub.spokes.remove('gone', TESTER, 'r')).toEqual(serials);

  await eventually(() => expect(told.length).toBeGreaterThan(0));
  expect(hub.sites.session('gone')).toBeUndefined();
  expect(hub.sites.list().map(({ id }) => id)).not.toContain('gone');
  await eventually(() => expect([...stays.revocations.serials].sort()).toEqual([...serials].sort()));
  expect(hub.sites.session('stays')?.isOpen).toBe(true);
  await eventually(async () => expect([...(await toldTo(envoy, Date.now()))].sort()).toEqual([...serials].sort()));
  const names = { dns: ['localhost'], ips: [] };
  const again = await openIdentity(stays.paths, { names, certDays: 30, now: Date.now() });
  expect(again.revocations).toHaveLength(2);
  await expect(openIdentity({ ...gone.paths, keys: gone.paths.keys }, { names, certDays: 30, now: Date.now() })).resolves.toBeDefined();
  gone.revocations.add(stays.revocations.records);
  await expect(openIdentity(gone.paths, { names, certDays: 30, now: Date.now() })).rejects.toMatchObject({ code: 'BUNDLE_REJECTED' });
  await goneLink.stop();
  await staysLink.stop();
});

test('a spoke that renews again and again while it is removed keeps no delegation that is not revoked', async () => {
  await joinedSpoke(hub, 'greedy');
  await hub.sites.change('greedy', { state: 'drained' });
  const [renewals] = hub.trust.answers.filter(({ kind }) => kind.name === renewIdentityKind.name);
  const renew = () => renewals!.answer({ ca_csr: null }, { from: 'greedy', signal: new AbortController().signal });
  await Promise.allSettled([renew(), renew(), renew(), hub.spokes.remove('greedy', TESTER, 'r'), renew()]);
  const issued = (await hub.parts.store.audit.list({ event: 'delegation.issued' }, 50)).filter(({ target }) => target === 'greedy');
  expect(issued).toHaveLength(3);
  const serials = issued.map(({ record }) => (JSON.parse(record) as { data: { serial: string } }).data.serial);
  expect(serials.filter((each) => !hub.parts.revocations.serials.has(each))).toEqual([]);
});

test('a revocation that the root did not sign is refused', () => {
  const forged = signRevocation(newSigningKey(), { fleet_id: hub.parts.identity.fleetId, serial: 'x', at: 1 });
  expect(() => hub.parts.revocations.add([forged])).toThrow(expect.objectContaining({ code: 'BUNDLE_REJECTED' }));
});

test('a spoke that was removed may be added again, as another authority', async () => {
  const { token } = await hub.spokes.add({ id: 'gone', ttl_s: 60 }, TESTER, 'r');
  expect(token).toMatch(/^vgj_gone_/);
  expect(hub.sites.get('gone')).toMatchObject({ state: 'joining', epoch: 1, patterns: [] });
  await expect(hub.spokes.add({ id: 'stays', ttl_s: 60 }, TESTER, 'r')).rejects.toMatchObject({ code: 'DUPLICATE_SPOKE' });
  await expect(hub.spokes.add({ id: 'hub', ttl_s: 60 }, TESTER, 'r')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});

test('an envoy asks for another delegation in the last third of the one it holds, and the newer one takes its place', async () => {
  const { trust } = await hub.site.enroll('web2.example.com');
  const { paths, identity } = hub.parts;
  const server = { fleetId: identity.fleetId, siteId: 'dc9', serverId: identity.serverId, publicKey: newSigningKey().publicKey, epoch: 1 };
  const now = Date.now();
  const { keyId } = await trust.learn(delegateSpoke(paths, server, now));
  expect([59, 61, 100, -1].map((days) => trust.keyIds(now + days * DAY).includes(keyId))).toEqual([true, false, false, false]);
  const next = delegateSpoke(paths, server, now + 61 * DAY);
  await trust.learn(next);
  expect(trust.keyIds(now + 62 * DAY)).toContain(keyId);
  expect(trust.key(keyId)?.delegation.serial).toBe((JSON.parse(next.record) as Delegation).serial);
});
