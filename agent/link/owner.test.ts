/** The grant and the config file: who wins, and what is dialled. */
import { expect, test } from '@jest/globals';
import { type Owner, ownerInUse, serversInOrder } from './owner.ts';

const OWNER: Owner = {
  envoy_id: 'e',
  site_id: 'b',
  owner_epoch: 3,
  servers: ['b1:1530', 'b2:1530'],
  fallback_servers: ['hub:1530'],
  api_url: 'https://b1:8443',
  issued_at: 1,
  previous: ['a1:1530'],
};

test.each([
  ['no grant was followed', undefined, { envoyId: 'e', siteId: 'a' }, ['a', 1]],
  ['the grant is newer than the file', OWNER, { envoyId: 'e', siteId: 'a' }, ['b', 3]],
  ['a newer enrolment of the same envoy', OWNER, { envoyId: 'e', siteId: 'a', ownerEpoch: 4 }, ['a', 4]],
  ['an enrolment of the same epoch elsewhere', OWNER, { envoyId: 'e', siteId: 'a', ownerEpoch: 3 }, ['a', 3]],
  ['new addresses of the site of the enrolment', OWNER, { envoyId: 'e', siteId: 'b', ownerEpoch: 3 }, ['b', 3]],
  ['the machine is another envoy now', OWNER, { envoyId: 'f', siteId: 'a' }, ['a', 1]],
] as const)('%s', (_, kept, enrolled, expected) => {
  const { siteId, ownerEpoch } = ownerInUse(kept, enrolled);
  expect([siteId, ownerEpoch]).toEqual(expected);
});

const CONFIGURED = { server: 'a1:1530', fallback_servers: ['a2:1530', 'hub:1530'] };

test('before any grant the configured server comes first, then what the site says', () => {
  const inUse = ownerInUse(undefined, { envoyId: 'e', siteId: 'a' });
  const authority = { servers: ['a1:1530', 'a3:1530'], fallback_servers: ['hub2:1530'] };
  expect(serversInOrder(inUse, authority, CONFIGURED)).toEqual(['a1:1530', 'a3:1530', 'hub2:1530', 'a2:1530', 'hub:1530']);
  expect(serversInOrder(inUse, undefined, CONFIGURED)).toEqual(['a1:1530', 'a2:1530', 'hub:1530']);
});

test('after it: owner, its fallbacks, the hub, the owner before, what the file says; each once', () => {
  const inUse = ownerInUse(OWNER, { envoyId: 'e', siteId: 'a' });
  const authority = { servers: ['b1:1530'], fallback_servers: ['b3:1530'] };
  expect(serversInOrder(inUse, authority, CONFIGURED)).toEqual(['b1:1530', 'b2:1530', 'b3:1530', 'hub:1530', 'a1:1530', 'a2:1530']);
});
