import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import * as noble from '@noble/ed25519';
import {
  createEnvoyCertificate,
  createRequest,
  createRootCa,
  createServerCertificate,
  createSiteCa,
  publicKeyPin,
  validityOf,
} from './certificate.ts';
import { assertUsable, openDelegation, openRevocation, signDelegation, signRevocation } from './delegation.ts';
import { signFor, verifyFor } from './domain.ts';
import { isAcceptablePublicKey, newSigningKey, sign, verify } from './ed25519.ts';
import { newSealingKey, seal, secretsAad, secretsInfo, unseal } from './hpke.ts';
import { privateKeyBytes, privateKeyPem } from './key-file.ts';

interface Wycheproof {
  readonly numberOfTests: number;
  readonly testGroups: readonly {
    readonly publicKey: { readonly pk: string };
    readonly tests: readonly {
      readonly tcId: number;
      readonly comment: string;
      readonly msg: string;
      readonly sig: string;
      readonly result: 'valid' | 'invalid';
    }[];
  }[];
}
const vectorsFile = new URL('../../../shared/fixtures/crypto/ed25519_wycheproof.json', import.meta.url);
const vectors = existsSync(vectorsFile) ? (JSON.parse(readFileSync(vectorsFile, 'utf8')) as Wycheproof) : undefined;
const withVectors = describeUnless(
  vectors === undefined ? 'the Wycheproof ed25519 vectors are not beside this checkout (../shared/fixtures/crypto)' : undefined,
);
const hex = (text: string) => Buffer.from(text, 'hex');
noble.hashes.sha512 = (message: Uint8Array) => new Uint8Array(createHash('sha512').update(message).digest());

import { createHash } from 'node:crypto';
import { describeUnless } from '../../test/harness/where.ts';

withVectors('Wycheproof ed25519 vectors', () => {
  const cases = (vectors?.testGroups ?? []).flatMap((group) => group.tests.map((one) => ({ ...one, pk: group.publicKey.pk })));
  test('every vector of the file is tried', () => expect(cases.length).toBe(vectors?.numberOfTests));
  test.each(cases.map((one) => [one.tcId, one.comment, one] as const))('%i %s', (_id, _comment, one) => {
    const wanted = one.result === 'valid';
    expect(verify(hex(one.pk), hex(one.msg), hex(one.sig))).toBe(wanted);
    let oracle: boolean;
    try {
      oracle = noble.verify(hex(one.sig), hex(one.msg), hex(one.pk), { zip215: false });
    } catch {
      // the oracle throws where a signature is not even well-formed
      oracle = false;
    }
    expect(oracle).toBe(wanted);
  });
});

describe('strict public keys', () => {
  // the eight points of small order, and non-canonical encodings of them (RFC 8032 §5.1.3; libsodium's blocklist)
  const bad = [
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'd9ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  ];
  test.each(bad)('%s is refused', (key) => {
    expect(isAcceptablePublicKey(hex(key))).toBe(false);
    const constant = Buffer.concat([hex('0100000000000000000000000000000000000000000000000000000000000000'), Buffer.alloc(32)]);
    expect(verify(hex(key), Buffer.from('any message'), constant)).toBe(false);
  });
  test('a mixed-order key is refused', () => {
    const good = noble.Point.fromBytes(newSigningKey().publicKey);
    const torsion = noble.Point.fromBytes(hex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'), true);
    expect(isAcceptablePublicKey(good.toBytes())).toBe(true);
    expect(isAcceptablePublicKey(good.add(torsion).toBytes())).toBe(false);
  });
  test('a signature with S + L is refused', () => {
    const key = newSigningKey();
    const message = Buffer.from('hello');
    const signature = sign(key.secretKey, message);
    expect(verify(key.publicKey, message, signature)).toBe(true);
    const L = 2n ** 252n + 27742317777372353535851937790883648493n;
    const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`) + L;
    const forged = Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse()]);
    expect(verify(key.publicKey, message, forged)).toBe(false);
  });
});

test('a signature for one domain does not verify for another', () => {
  const key = newSigningKey();
  const signature = signFor('checkIn', key, Buffer.from('x'));
  expect(verifyFor('checkIn', key.publicKey, Buffer.from('x'), signature)).toBe(true);
  expect(verifyFor('reportResults', key.publicKey, Buffer.from('x'), signature)).toBe(false);
});

test('key files hold PKCS#8 that survives the round trip and refuses another kind', () => {
  const seed = Buffer.alloc(32, 7);
  expect(privateKeyBytes('ed25519', privateKeyPem('ed25519', seed)).equals(seed)).toBe(true);
  expect(() => privateKeyBytes('x25519', privateKeyPem('ed25519', seed))).toThrow('x25519');
});

describe('delegations', () => {
  const root = newSigningKey();
  const server = newSigningKey();
  const delegation = {
    fleet_id: 'f',
    site_id: 'main',
    server_id: 's',
    public_key: Buffer.from(server.publicKey).toString('base64'),
    scopes: ['bundle'],
    epoch: 1,
    may_promote: true,
    not_before: 100,
    not_after: 200,
    serial: 'a',
  };
  const signed = signDelegation(root, delegation);
  const usable = { scope: 'bundle', now: 150, revokedSerials: new Set<string>(), siteId: 'main' } as const;
  test('hold for fleet, scope, site and time', () =>
    expect(() => assertUsable(openDelegation(root.publicKey, 'f', signed), usable)).not.toThrow());
  test.each([
    ['another root', () => openDelegation(newSigningKey().publicKey, 'f', signed)],
    ['another fleet', () => openDelegation(root.publicKey, 'g', signed)],
    ['changed text', () => openDelegation(root.publicKey, 'f', { ...signed, record: signed.record.replace('200', '900') })],
    ['expired', () => assertUsable(openDelegation(root.publicKey, 'f', signed), { ...usable, now: 201 })],
    ['not yet valid', () => assertUsable(openDelegation(root.publicKey, 'f', signed), { ...usable, now: 99 })],
    ['scope', () => assertUsable(openDelegation(root.publicKey, 'f', signed), { ...usable, scope: 'audit' })],
    ['site', () => assertUsable(openDelegation(root.publicKey, 'f', signed), { ...usable, siteId: 'eu' })],
    ['revoked', () => assertUsable(openDelegation(root.publicKey, 'f', signed), { ...usable, revokedSerials: new Set(['a']) })],
    [
      'revocation used as delegation',
      () => openDelegation(root.publicKey, 'f', signRevocation(root, { fleet_id: 'f', serial: 'a', at: 1 })),
    ],
  ])('are refused: %s', (_name, attempt) => expect(attempt).toThrow());
  test('a revocation record names its serial', () =>
    expect(openRevocation(root.publicKey, signRevocation(root, { fleet_id: 'f', serial: 'a', at: 1 })).serial).toBe('a'));
});

describe('sealed secrets', () => {
  const info = secretsInfo('f', 'e', 'main');
  const aad = secretsAad(Buffer.alloc(16, 1), Buffer.alloc(32, 2), 3);
  test('open with the key, info and aad they were sealed for, and with nothing else', async () => {
    const key = newSealingKey();
    const sealed = await seal(key.publicKey, info, aad, Buffer.from('top'));
    expect((await unseal(key, info, aad, sealed)).toString()).toBe('top');
    await expect(unseal(newSealingKey(), info, aad, sealed)).rejects.toThrow();
    await expect(unseal(key, secretsInfo('f', 'other', 'main'), aad, sealed)).rejects.toThrow();
    await expect(unseal(key, info, secretsAad(Buffer.alloc(16, 9), Buffer.alloc(32, 2), 3), sealed)).rejects.toThrow();
    await expect(unseal(key, info, secretsAad(Buffer.alloc(16, 1), Buffer.alloc(32, 2), 4), sealed)).rejects.toThrow();
  });
});

describe('certificates', () => {
  const now = Date.UTC(2026, 0, 1);
  test('chain from root over site to server and envoy; requests are rebuilt', async () => {
    const root = await createRootCa('f', now);
    const site = await createSiteCa(root, 'main', now);
    const server = await createServerCertificate(site, { fleetId: 'f', serverId: 's', dns: ['localhost'], ips: ['127.0.0.1'] }, 30, now);
    const request = await createRequest();
    const envoy = await createEnvoyCertificate(site, { fleetId: 'f', envoyId: 'e' }, request.csr, 30, now);
    const parsed = new X509Certificate(envoy);
    expect(parsed.subjectAltName).toBe('URI:spiffe://f/envoy/e');
    expect(parsed.ca).toBe(false);
    expect(parsed.verify(new X509Certificate(site.certificate).publicKey)).toBe(true);
    expect(new X509Certificate(site.certificate).verify(new X509Certificate(root.certificate).publicKey)).toBe(true);
    expect(new X509Certificate(server.certificate).subjectAltName).toContain('DNS:localhost');
    const renewed = await createServerCertificate(
      site,
      { fleetId: 'f', serverId: 's', dns: ['localhost'], ips: [] },
      30,
      now,
      server.privateKey,
    );
    expect(publicKeyPin(renewed.certificate)).toBe(publicKeyPin(server.certificate));
    expect(validityOf(envoy).notAfter).toBe(now + 30 * 86_400_000);
    await expect(createEnvoyCertificate(site, { fleetId: 'f', envoyId: 'e' }, 'garbage', 30, now)).rejects.toMatchObject({
      code: 'BAD_CSR',
    });
    await expect(
      createEnvoyCertificate(site, { fleetId: 'f', envoyId: 'e' }, request.csr.replace(/.{8}\n-----END/, 'AAAAAAAA\n-----END'), 30, now),
    ).rejects.toMatchObject({ code: 'BAD_CSR' });
  });
});
