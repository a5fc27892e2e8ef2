/** Joins of spokes: one use, one key, the same answer to the same keys; and a whole first start against a hub that answers over HTTPS. */
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { JoinRequest } from '../core/api/spanner-join.ts';
import { canonicalBytes } from '../core/base/json.ts';
import { openDelegation } from '../core/crypto/delegation.ts';
import { signFor } from '../core/crypto/domain.ts';
import { newSigningKey } from '../core/crypto/ed25519.ts';
import { openSuccession } from '../core/crypto/succession.ts';
import { parseJoinToken } from '../server/identity/join-token.ts';
import { dataPaths } from '../server/identity/paths.ts';
import { openIdentity } from '../server/identity/server-identity.ts';
import { carryThroughJoin, intendJoin } from '../server/identity/succeed.ts';
import { identityOf, joinRequest, makeHub, type TestHub, tokenFor } from '../test/harness/linked-sites.ts';
import { TestSite } from '../test/harness/test-site.ts';

const NAMES = { dns: ['localhost'], ips: ['127.0.0.1'] };
let hub: TestHub;
beforeAll(async () => {
  hub = await makeHub([]);
}, 30_000);
afterAll(() => hub.close());

const ask = (request: JoinRequest) => hub.joins.join(request, '192.0.2.7');
const code = (code: string) => ({ code });

test('a join gives a delegation without the rights of a hub, a CA below the root, and an identity that opens', async () => {
  const request = await joinRequest(await tokenFor(hub, 'dc1'));
  const reply = await ask(request);
  const { delegation } = openDelegation(hub.parts.identity.rootPublicKey, hub.parts.identity.fleetId, reply.delegation);
  expect(delegation).toMatchObject({ site_id: 'dc1', scopes: ['bundle', 'audit', 'enroll'], epoch: 1, may_promote: false });
  const { identity } = await identityOf(request.dir, reply);
  expect([identity.siteId, identity.hubSite, identity.rootPin]).toEqual(['dc1', 'hub', hub.parts.identity.rootPin]);
  expect(hub.sites.get('dc1')).toMatchObject({ state: 'active', serverId: identity.serverId });
  const records = await hub.parts.store.audit.list({ event: 'spoke.joined' }, 1);
  expect(records[0]?.record).toContain('192.0.2.7');
});

test('a lost answer is given again to the same keys, and to no others', async () => {
  const token = await tokenFor(hub, 'dc2');
  const request = await joinRequest(token);
  const first = await ask(request);
  expect(await ask(request)).toEqual(first);
  await expect(joinRequest(token).then(ask)).rejects.toMatchObject(code('TOKEN_ALREADY_SPENT'));
  const { join: spent } = hub.sites.get('dc2')!;
  await hub.sites.change('dc2', { join: { ...spent, spentAt: Date.now() - 16 * 60_000 } });
  await expect(ask(request)).rejects.toMatchObject(code('TOKEN_ALREADY_SPENT'));
});

test('of many servers with one token one joins', async () => {
  const token = await tokenFor(hub, 'dc3');
  const requests = await Promise.all(Array.from({ length: 10 }, () => joinRequest(token)));
  const results = await Promise.allSettled(requests.map(ask));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  for (const result of results) if (result.status === 'rejected') expect(result.reason).toMatchObject(code('TOKEN_ALREADY_SPENT'));
});

test('another join of an id is another signing authority with a higher epoch', async () => {
  const first = await ask(await joinRequest(await tokenFor(hub, 'dc4')));
  const { own: _own, link: _link, ...row } = hub.sites.get('dc4')!;
  const token = await tokenFor(hub, 'dc4');
  await hub.sites.add({ ...row, join: hub.sites.get('dc4')!.join });
  const second = await ask(await joinRequest(token));
  expect([first.epoch, second.epoch]).toEqual([1, 2]);
});

test('what is refused leaves the token as it was', async () => {
  const token = await tokenFor(hub, 'dc5');
  const request = await joinRequest(token);
  const resigned = (change: Partial<JoinRequest>, key = newSigningKey()): JoinRequest => {
    const { proof: _proof, ...rest } = { ...request, server_key: Buffer.from(key.publicKey).toString('base64'), ...change };
    return { ...rest, proof: signFor('link', key, canonicalBytes(rest)).toString('base64') };
  };
  const cases: [string, JoinRequest][] = [
    ['TOKEN_UNKNOWN', { ...request, secret: '0'.repeat(64) }],
    ['TOKEN_UNKNOWN', { ...request, spoke_id: 'nobody' }],
    ['TOKEN_UNKNOWN', { ...request, spoke_id: 'hub' }],
    ['BAD_PROOF', { ...request, ca_csr: `${request.ca_csr} ` }],
    ['WEAK_KEY', resigned({ server_key: Buffer.alloc(32).toString('base64') })],
    ['BAD_CSR', resigned({ ca_csr: 'nothing' })],
  ];
  for (const [expected, bad] of cases) await expect(ask(bad)).rejects.toMatchObject(code(expected));
  const { keys } = hub.parts.paths;
  renameSync(join(keys, 'root.key'), join(keys, 'away'));
  await expect(ask(request)).rejects.toMatchObject({ code: 'NOT_READY', hint: expect.stringContaining('root.key') });
  renameSync(join(keys, 'away'), join(keys, 'root.key'));
  expect(hub.sites.get('dc5')).toMatchObject({ state: 'joining', join: { spentAt: 0 } });
  await expect(ask(request)).resolves.toMatchObject({ site_id: 'dc5' });
  const late = await joinRequest(await tokenFor(hub, 'dc6', 1));
  await new Promise((resolve) => setTimeout(resolve, 10));
  await expect(ask(late)).rejects.toMatchObject(code('TOKEN_EXPIRED'));
});

test('an answer that was kept halfway is asked for again with the same keys', async () => {
  const request = await joinRequest(await tokenFor(hub, 'dc7'));
  const copy = mkdtempSync(join(tmpdir(), 'vigo-crashed-'));
  await ask(request);
  // the crash came before anything was written
  cpSync(request.dir, copy, { recursive: true });
  const again = await ask(request);
  const { identity } = await identityOf(copy, again);
  expect(identity.siteId).toBe('dc7');
});

test.each([
  '',
  'vgj_dc1',
  `vgj_dc1_${'0'.repeat(64)}_${'0'.repeat(64)}_aHR0cDovL3g`,
  `vgt_dc1_${'0'.repeat(64)}_${'0'.repeat(64)}_aHR0cHM6Ly94`,
])('no join token: "%s"', (text) => {
  expect(() => parseJoinToken(text)).toThrow(expect.objectContaining(code('TOKEN_UNKNOWN')));
});

test('a stand-alone server that joins keeps its key, and a crash in the middle is carried through', async () => {
  const site = new TestSite();
  await site.init();
  const paths = dataPaths(site.dataDir);
  const before = await openIdentity(paths, { names: NAMES, certDays: 30, now: Date.now() });
  const request = await joinRequest(await tokenFor(hub, 'dc8'), site.dataDir);
  const reply = await ask(request);
  intendJoin(paths, reply, readFileSync(paths.settings, 'utf8'), Date.now());
  await expect(site.start()).rejects.toMatchObject({ hint: expect.stringContaining('vigosrv join') });
  const intent = readFileSync(join(paths.keys, 'joining.json'));
  carryThroughJoin(paths);
  // as if it had been killed before its last step, however often
  for (let i = 0; i < 2; i++) {
    writeFileSync(join(paths.keys, 'joining.json'), intent);
    carryThroughJoin(paths);
  }
  const after = await openIdentity(paths, { names: NAMES, certDays: 30, now: Date.now() });
  expect([after.siteId, after.hubSite, after.fleetId]).toEqual(['dc8', 'hub', hub.parts.identity.fleetId]);
  expect([after.keyId, after.rootPin]).toEqual([before.keyId, hub.parts.identity.rootPin]);
  expect(after.succession).toMatchObject({ fleetId: before.fleetId, siteId: 'main' });
  const succession = openSuccession(before.rootPublicKey, before.fleetId, after.succession!.signed);
  expect(succession).toMatchObject({ site_id: 'dc8', root_ca: after.rootCa });
  expect(readFileSync(join(paths.keys, 'former', 'fleet.json'), 'utf8')).toContain(before.fleetId);
  expect(existsSync(join(paths.keys, 'root.key'))).toBe(false);
  rmSync(site.dir, { recursive: true });
});
