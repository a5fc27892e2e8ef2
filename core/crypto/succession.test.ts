/** Who may name a successor, and of what. */
import { expect, test } from '@jest/globals';
import { canonicalBytes } from '../base/json.ts';
import { signFor } from './domain.ts';
import { newSigningKey } from './ed25519.ts';
import { openSuccession, signSuccession } from './succession.ts';

const root = newSigningKey();
const next = newSigningKey();
const SUCCESSION = {
  former_fleet_id: 'old',
  former_site_id: 'main',
  fleet_id: 'new',
  site_id: 'dc1',
  root_public_key: Buffer.from(next.publicKey).toString('base64'),
  root_ca: 'pem',
  at: 1,
};
const good = signSuccession(root, SUCCESSION);

test('the former root names its successor', () => {
  expect(openSuccession(root.publicKey, 'old', good)).toEqual(SUCCESSION);
});

const signed = (record: string, domain: 'succession' | 'delegation' = 'succession', key = root) => ({
  record,
  signature: signFor(domain, key, Buffer.from(record)).toString('base64'),
});

test.each([
  ['another key', 'old', signSuccession(newSigningKey(), SUCCESSION), 'BUNDLE_REJECTED'],
  ['the successor itself', 'old', signSuccession(next, SUCCESSION), 'BUNDLE_REJECTED'],
  ['a word about another fleet', 'other', good, 'BUNDLE_REJECTED'],
  ['a changed record', 'old', { ...good, record: good.record.replace('dc1', 'dc2') }, 'BUNDLE_REJECTED'],
  ['a signature for something else', 'old', signed(good.record, 'delegation'), 'BUNDLE_REJECTED'],
  ['an unknown shape', 'old', signed(canonicalBytes({ former_fleet_id: 'old' }).toString()), 'BUNDLE_REJECTED'],
  ['a weak key', 'old', signSuccession(root, { ...SUCCESSION, root_public_key: Buffer.alloc(32).toString('base64') }), 'WEAK_KEY'],
])('%s is not believed', (_name, fleet, record, code) => {
  expect(() => openSuccession(root.publicKey, fleet, record)).toThrow(expect.objectContaining({ code }));
});
