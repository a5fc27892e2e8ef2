/** Freshness: which site heads an agent takes as proof that its policy is current. */
import { expect, test } from '@jest/globals';
import { newSigningKey } from '../crypto/ed25519.ts';
import { acceptHead, type BundleHeader, type Judge, type SiteHead, signHead } from './bundle.ts';

const NOW = 1_760_000_000_000;
const MINUTE = 60_000;
const key = newSigningKey();
const other = newSigningKey();
const times = { not_before: NOW - 1e9, not_after: NOW + 1e12 };
const delegation = {
  fleet_id: 'f',
  site_id: 's',
  server_id: 'v',
  public_key: '',
  scopes: ['bundle'],
  epoch: 1,
  may_promote: false,
  serial: '1',
  ...times,
};
const judge: Judge = {
  fleetId: 'f',
  envoyId: 'e',
  siteId: 's',
  now: NOW,
  revokedSerials: new Set(),
  trustedKey: (keyId) => (keyId === 'k' ? { delegation, publicKey: key.publicKey, keyId } : undefined),
};
const held = { site_id: 's', epoch: 1, release: 7 } as BundleHeader;

function head(change: Partial<SiteHead> = {}, issued = NOW): SiteHead {
  const dates = { issued_at: new Date(issued).toISOString(), expires_at: new Date(issued + 5 * MINUTE).toISOString() };
  return { fleet_id: 'f', site_id: 's', server_id: 'v', epoch: 1, release: 7, root: 'r', ...dates, ...change };
}

test.each<[string, SiteHead, string | undefined]>([
  ['fresh', head(), undefined],
  ['a little ahead', head({}, NOW + 9 * MINUTE), undefined],
  ['from the future', head({}, NOW + 11 * MINUTE), 'head_from_the_future'],
  ['from the far future', head({}, NOW + 1e11), 'head_from_the_future'],
  ['older than seen', head({}, NOW - 2 * MINUTE), 'head_older_than_seen'],
  ['of another fleet', head({ fleet_id: 'g' }), 'head_of_another_site'],
  ['of another site', head({ site_id: 't' }), 'head_of_another_site'],
  ['of another epoch', head({ epoch: 2 }), 'head_of_another_epoch'],
  ['of another release', head({ release: 6 }), 'head_of_another_release'],
])('a head %s', (_name, wanted, refused) => {
  const accept = () => acceptHead(held, NOW - MINUTE, 'k', signHead(key, wanted), judge);
  if (refused === undefined) expect(accept()).toEqual(wanted);
  else expect(accept).toThrow(refused);
});

test('a head signed by another key, or by a key nobody delegated', () => {
  expect(() => acceptHead(held, 0, 'k', signHead(other, head()), judge)).toThrow('bad_signature');
  expect(() => acceptHead(held, 0, 'x', signHead(key, head()), judge)).toThrow('unknown_key');
});
