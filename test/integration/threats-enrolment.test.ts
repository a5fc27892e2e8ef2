/** What will be tried against enrolment: tokens used twice, names bent to fit, weak keys, foreign requests, taken hostnames. */
import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as x509 from '@peculiar/x509';
import type { EnrollRequest } from '../../core/api/enroll.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import { signFor } from '../../core/crypto/domain.ts';
import { newSigningKey, type SigningKey } from '../../core/crypto/ed25519.ts';
import { newSealingKey } from '../../core/crypto/hpke.ts';
import { TestSite } from '../harness/test-site.ts';

const site = new TestSite();
let csr = '';
let names = 0;

beforeAll(async () => {
  await site.init();
  await site.start();
  csr = (await site.request('x.example.com', 'csr', undefined)).request.csr;
}, 30_000);
afterAll(() => site.close());

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const enroll = (request: EnrollRequest) => site.server.parts.enrollment.enroll(request, '192.0.2.7');

function signed(hostname: string, token: string | undefined, key: SigningKey, more: Partial<EnrollRequest> = {}): EnrollRequest {
  const unsigned = {
    ...(token === undefined ? {} : { token }),
    hostname,
    csr,
    identity_key: base64(key.publicKey),
    sealing_key: base64(newSealingKey().publicKey),
    platform: 'linux/x64',
    agent_version: '0',
    timestamp_ms: Date.now(),
    ...more,
  };
  return { ...unsigned, proof: base64(signFor('enroll', key, canonicalBytes(unsigned))) };
}

async function code(attempt: Promise<unknown>): Promise<string> {
  return attempt.then(
    () => 'ok',
    (thrown: { code?: string }) => thrown.code ?? String(thrown),
  );
}

const fresh = (label = 'host') => `${label}${++names}.web.prod`;

describe('tokens', () => {
  test('of a hundred parallel uses of one token exactly one enrols, the others are told that it is spent', async () => {
    const token = await site.token('*.web.prod');
    const results = await Promise.all(Array.from({ length: 100 }, () => code(enroll(signed(fresh(), token, newSigningKey())))));
    expect(results.filter((result) => result === 'ok')).toHaveLength(1);
    expect(new Set(results)).toEqual(new Set(['ok', 'TOKEN_ALREADY_SPENT']));
    const misused = await site.server.parts.store.audit.list({ event: 'token.misused' }, 200);
    expect(misused.length).toBeGreaterThan(0);
    expect(misused[0]!.record).toContain('spent_from');
  }, 60_000);

  test('a lost reply: the same request again gets the same answer, other keys do not', async () => {
    const [token, key, hostname] = [await site.token('*.web.prod'), newSigningKey(), fresh()];
    const request = signed(hostname, token, key);
    const first = await enroll(request);
    expect(await enroll(request)).toEqual(first);
    expect(await code(enroll(signed(hostname, token, newSigningKey())))).toBe('TOKEN_ALREADY_SPENT');
  });

  test('after a restart the lost reply still enrols the same envoy', async () => {
    const [token, key, hostname] = [await site.token('*.web.prod'), newSigningKey(), fresh()];
    const request = signed(hostname, token, key);
    const first = await enroll(request);
    await site.stop();
    await site.start();
    const again = await enroll(request);
    expect(first.status === 'enrolled' && again.status === 'enrolled' && first.reply.envoy_id === again.reply.envoy_id).toBe(true);
  });

  test.each([
    ['another name behind', '*.web.prod', 'a.web.prod.evil'],
    ['another name in front', 'a.web.prod', 'evil-a.web.prod'],
    ['a dot too few', '*.web.prod', 'xweb.prod'],
  ])('a pattern is not bent: %s', async (_name, pattern, hostname) => {
    const token = await site.token(pattern);
    expect(await code(enroll(signed(hostname, token, newSigningKey())))).toBe('TOKEN_HOSTNAME_MISMATCH');
    const row = await site.server.parts.store.tokens.byId(token.split('_')[1]!);
    expect(row?.spent).toBeUndefined();
  });

  test.each([
    'A.web.prod',
    'a.web.prod.',
    'a.web.prod\n',
    'ä.web.prod',
    'a b.web.prod',
    '../web.prod',
    '',
    `${'a'.repeat(250)}.web.prod`,
    '-a.web.prod',
    'a..web.prod',
    '<script>.web.prod',
    'a.web.prod\u0000',
  ])('the hostname %j is refused', async (hostname) => {
    expect(await code(enroll(signed(hostname, await site.token('*'), newSigningKey())))).toBe('HOSTNAME_INVALID');
  });

  test('unknown, malformed, wrong-secret, revoked tokens say no more than they must', async () => {
    const token = await site.token('*.web.prod');
    const [prefix, id, secret, pin] = token.split('_');
    const wrong = `${prefix}_${id}_${secret!.replace(/^./, (c) => (c === '0' ? '1' : '0'))}_${pin}`;
    const unknown = `${prefix}_${'0'.repeat(16)}_${secret}_${pin}`;
    for (const text of [wrong, unknown, 'vgt_x', 'x'.repeat(200)])
      expect(await code(enroll(signed(fresh(), text, newSigningKey())))).toBe('TOKEN_UNKNOWN');
    await site.server.parts.tokens.revoke(id!, { kind: 'system', id: 'test', name: 'test' });
    expect(await code(enroll(signed(fresh(), token, newSigningKey())))).toBe('TOKEN_REVOKED');
    expect(await code(enroll(signed(fresh(), undefined, newSigningKey())))).toBe('TOKEN_UNKNOWN');
  });

  test('a guessed secret costs as much time as a wrong id', async () => {
    const time = async (text: string) => {
      const begun = performance.now();
      await code(enroll(signed(fresh(), text, newSigningKey())));
      return performance.now() - begun;
    };
    const token = await site.token('*.web.prod');
    const [prefix, id, , pin] = token.split('_');
    const guessed = await time(`${prefix}_${id}_${'0'.repeat(48)}_${pin}`);
    const unknown = await time(`${prefix}_${'0'.repeat(16)}_${'0'.repeat(48)}_${pin}`);
    // both hash: neither answers at once
    expect(Math.min(guessed, unknown)).toBeGreaterThan(5);
  });
});

describe('keys and requests', () => {
  test.each([
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  ])('the small-order or non-canonical key %s is refused', async (hex) => {
    const request = {
      ...signed(fresh(), await site.token('*'), newSigningKey()),
      identity_key: Buffer.from(hex, 'hex').toString('base64'),
    };
    expect(await code(enroll(request))).toBe('WEAK_KEY');
  });

  test('a proof of another key, or over other fields, is refused', async () => {
    const request = signed(fresh(), await site.token('*'), newSigningKey());
    expect(await code(enroll({ ...request, hostname: fresh() }))).toBe('BAD_PROOF');
    expect(await code(enroll({ ...request, sealing_key: base64(newSealingKey().publicKey) }))).toBe('BAD_PROOF');
    expect(await code(enroll({ ...request, identity_key: base64(newSigningKey().publicKey) }))).toBe('BAD_PROOF');
  });

  test('a request that asks for a CA, other names and another key type gets none of it', async () => {
    const provider = webcrypto as unknown as Crypto;
    const keys = (await provider.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])) as never as {
      publicKey: CryptoKey;
      privateKey: CryptoKey;
    };
    const extensions = [
      new x509.BasicConstraintsExtension(true, 5, true),
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: 'localhost' },
        { type: 'url', value: 'spiffe://f/envoy/other' },
      ]),
    ];
    const greedy = (
      await x509.Pkcs10CertificateRequestGenerator.create({
        name: 'CN=root',
        keys,
        signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
        extensions,
      })
    ).toString('pem');
    const result = await enroll(signed(fresh(), await site.token('*'), newSigningKey(), { csr: greedy }));
    if (result.status !== 'enrolled') throw new Error('not enrolled');
    const certificate = new X509Certificate(result.reply.certificate);
    expect(certificate.ca).toBe(false);
    expect(certificate.subject).toBe(`CN=${result.reply.envoy_id}`);
    expect(certificate.subjectAltName).toBe(`URI:spiffe://${result.reply.fleet_id}/envoy/${result.reply.envoy_id}`);
    const rsa = (await provider.subtle.generateKey(
      { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
      true,
      ['sign', 'verify'],
    )) as never as typeof keys;
    const wrongType = (
      await x509.Pkcs10CertificateRequestGenerator.create({
        name: 'CN=x',
        keys: rsa,
        signingAlgorithm: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
      })
    ).toString('pem');
    expect(await code(enroll(signed(fresh(), await site.token('*'), newSigningKey(), { csr: wrongType })))).toBe('BAD_CSR');
  });

  test('a clock that is off is told the time of the server', async () => {
    const request = signed(fresh(), await site.token('*'), newSigningKey(), { timestamp_ms: Date.now() - 600_000 });
    await expect(enroll(request)).rejects.toMatchObject({ code: 'CLOCK_SKEW', details: { server_time_ms: expect.any(Number) } });
  });
});

describe('a taken hostname', () => {
  test('another valid token is not enough; the old key is; an admin is asked with --force', async () => {
    const [hostname, owner] = [fresh('taken'), newSigningKey()];
    expect(await code(enroll(signed(hostname, await site.token('*'), owner)))).toBe('ok');
    expect(await code(enroll(signed(hostname, await site.token('*'), newSigningKey())))).toBe('HOSTNAME_TAKEN');
    const forced = await enroll(signed(hostname, await site.token('*'), newSigningKey(), { force: true }));
    expect(forced.status).toBe('pending');
    const successor = newSigningKey();
    const request = signed(hostname, await site.token('*'), successor, { force: true });
    const { proof: _proof, ...unsigned } = request;
    const proven = { ...request, old_key_proof: base64(signFor('enroll', owner, canonicalBytes(unsigned))) };
    const result = await enroll(proven);
    expect(result.status).toBe('enrolled');
    const { fleet } = site.server.parts;
    expect(fleet.hostname(fleet.slotOfHostname(hostname))).toBe(hostname);
  });

  test('a key that was enrolled once is never enrolled again for another name', async () => {
    const key = newSigningKey();
    expect(await code(enroll(signed(fresh(), await site.token('*'), key)))).toBe('ok');
    expect(await code(enroll(signed(fresh(), await site.token('*'), key)))).toBe('KEY_ALREADY_ENROLLED');
  });
});
