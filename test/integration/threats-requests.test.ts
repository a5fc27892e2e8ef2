/** What will be tried against the request layer: replays, wrong clocks, wrong identities, changed bytes, stolen sessions. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { idBytes } from '../../core/base/ids.ts';
import { createEnvoyCertificate, createRequest, createRootCa, createSiteCa } from '../../core/crypto/certificate.ts';
import { signFor } from '../../core/crypto/domain.ts';
import { newSigningKey } from '../../core/crypto/ed25519.ts';
import { codecs } from '../../proto/load.ts';
import { eventually } from '../harness/eventually.ts';
import { type TestEnvoy, TestSite, testRelease } from '../harness/test-site.ts';

const site = new TestSite();
let one: TestEnvoy;
let two: TestEnvoy;
let next = Date.now();

beforeAll(async () => {
  await site.init();
  await site.start();
  await site.server.parts.releases.use(testRelease(1, {}));
  one = await site.enroll('one.example.com');
  two = await site.enroll('two.example.com');
}, 30_000);
afterAll(() => site.close());

async function audited(event: string): Promise<void> {
  await eventually(async () => {
    const rows = await site.server.parts.store.audit.list({ event }, 10);
    expect(rows.length).toBeGreaterThan(0);
  });
}

describe('replay', () => {
  test('the same bytes within two minutes get an answer again; an older sequence is refused and audited, on any connection', async () => {
    const first = site.checkInBytes(one, site.header(one, ++next));
    expect((await site.raw(one, first)).grpcStatus).toBe(0);
    expect((await site.raw(one, first)).grpcStatus).toBe(0);
    expect((await site.raw(one, site.checkInBytes(one, site.header(one, ++next)))).grpcStatus).toBe(0);
    expect((await site.raw(one, first)).code).toBe('REPLAYED');
    await audited('request.replayed');
  });

  test('an equal sequence with other bytes is refused', async () => {
    const sequence = ++next;
    expect((await site.raw(one, site.checkInBytes(one, site.header(one, sequence)))).grpcStatus).toBe(0);
    expect((await site.raw(one, site.checkInBytes(one, site.header(one, sequence, { sent_at_ms: Date.now() - 5 })))).code).toBe('REPLAYED');
  });

  test('a report sent twice is stored once and answered alike', async () => {
    const sequence = ++next;
    const report = {
      run_id: 'run-1',
      body_hash: '0',
      release: 1,
      owner_epoch: 1,
      epoch: 1,
      seq: 1,
      started_at: 1,
      ended_at: 2,
      mode: 'enforce',
      flags: [],
      outcomes: [],
    };
    const payload = codecs.reportResultsRequest.encode({
      header: site.header(one, sequence),
      reports: [{ subject: one.identity.envoyId, run_id: 'run-1', report: Buffer.from(JSON.stringify(report)) }],
    });
    const request = codecs.signedRequest.encode({ payload, signature: signFor('reportResults', one.identity.signingKey, payload) });
    const first = await site.raw(one, request, { method: 'reportResults' });
    const again = await site.raw(one, request, { method: 'reportResults' });
    expect(codecs.reportResultsReply.decode(first.message).results).toEqual(['accepted']);
    expect(again.message.equals(first.message)).toBe(true);
    expect(await site.server.parts.store.runs.byId('run-1')).toHaveLength(1);
  });

  test('reports about somebody else are refused', async () => {
    const payload = codecs.reportResultsRequest.encode({
      header: site.header(one, ++next),
      reports: [{ subject: two.identity.envoyId, run_id: 'run-2', report: Buffer.from('{}') }],
    });
    const request = codecs.signedRequest.encode({ payload, signature: signFor('reportResults', one.identity.signingKey, payload) });
    expect(codecs.reportResultsReply.decode((await site.raw(one, request, { method: 'reportResults' })).message).results).toEqual([
      'refused',
    ]);
    expect(await site.server.parts.store.runs.byId('run-2')).toHaveLength(0);
  });
});

describe('clock', () => {
  test.each([
    ['six minutes behind', () => Date.now() - 360_000, 'CLOCK_SKEW'],
    ['six minutes ahead', () => Date.now() + 360_000, 'CLOCK_SKEW'],
    ['a year ahead', () => Date.now() + 31_536_000_000, 'CLOCK_SKEW'],
    ['zero', () => 0, 'CLOCK_SKEW'],
    ['2^53', () => 2 ** 53, 'BAD_REQUEST'],
    ['2^63', () => 2 ** 63, 'BAD_REQUEST'],
  ])("%s is refused with the server's time", async (_name, at, code) => {
    const reply = await site.raw(one, site.checkInBytes(one, site.header(one, ++next, { sent_at_ms: at() })));
    expect(reply.code).toBe(code);
    expect(Math.abs(reply.serverTimeMs - Date.now())).toBeLessThan(60_000);
  });

  test('a negative time is refused', async () => {
    // -1 as a varint is ten bytes of all ones
    const header = Buffer.concat([
      codecs.checkInRequest.encode({ header: site.header(one, ++next, { sent_at_ms: 0 }) }).subarray(2),
      Buffer.from('38ffffffffffffffffff01', 'hex'),
    ]);
    const payload = Buffer.concat([Buffer.from([10, header.length]), header]);
    const request = codecs.signedRequest.encode({ payload, signature: signFor('checkIn', one.identity.signingKey, payload) });
    expect((await site.raw(one, request)).code).toBe('BAD_REQUEST');
  });

  test('requests from before the start are refused, so nothing accepted before a restart is accepted after it', async () => {
    const before = site.checkInBytes(one, site.header(one, ++next, { sent_at_ms: site.server.parts.startedAt - 1 }));
    expect((await site.raw(one, before)).code).toBe('RETRY_FRESH');
  });
});

describe('identity', () => {
  const good = () => site.checkInBytes(one, site.header(one, ++next));

  test('certificate of one, signature of another', async () => {
    expect((await site.raw(two, good())).code).toBe('IDENTITY_MISMATCH');
    await audited('request.identity_mismatch');
    expect((await site.raw(one, site.checkInBytes(one, site.header(one, ++next), 'checkIn', two.identity.signingKey))).code).toBe(
      'BAD_SIGNATURE',
    );
    await audited('request.bad_signature');
  });

  test('no certificate: the connection is refused', async () => {
    const session = site.connect({}, one.identity.caBundle);
    await expect(site.raw(one, good(), { session })).rejects.toThrow();
  });

  test('a certificate of another CA with the same names: the connection is refused', async () => {
    const foreign = await createSiteCa(await createRootCa(one.identity.fleetId, Date.now()), 'main', Date.now());
    const { csr, privateKey } = await createRequest();
    const certificateChain =
      (await createEnvoyCertificate(foreign, { fleetId: one.identity.fleetId, envoyId: one.identity.envoyId }, csr, 1, Date.now())) +
      foreign.certificate;
    await expect(
      site.raw(one, good(), { session: site.connect({ certificateChain, privateKey }, one.identity.caBundle) }),
    ).rejects.toThrow();
  });

  test.each([
    ['an expired certificate', -1, (fleet: string) => fleet, 'refused'],
    ['a certificate of another fleet', 1, () => '019e0000-0000-7000-8000-000000000000', 'CERTIFICATE_INVALID'],
  ])('%s', async (_name, days, fleetOf, code) => {
    const { siteCa } = site.server.parts.identity;
    const { csr, privateKey } = await createRequest();
    const certificateChain =
      (await createEnvoyCertificate(
        siteCa,
        { fleetId: fleetOf(one.identity.fleetId), envoyId: one.identity.envoyId },
        csr,
        days,
        Date.now() - (days < 0 ? 3_600_000 : 0),
      )) + siteCa.certificate;
    const attempt = site.raw(one, good(), { session: site.connect({ certificateChain, privateKey }, one.identity.caBundle) });
    if (code === 'refused') await expect(attempt).rejects.toThrow();
    else expect((await attempt).code).toBe(code);
  });

  test('identity headers in any spelling change nothing', async () => {
    const headers = {
      'x-client-cert': two.identity.envoyId,
      'x-forwarded-for': '10.0.0.1',
      'grpc-metadata-envoy': two.identity.envoyId,
      'x-envoy-id': two.identity.envoyId,
    };
    expect((await site.raw(one, good(), { headers })).grpcStatus).toBe(0);
    expect((await site.raw(two, good(), { headers: { ...headers, 'x-client-cert': one.identity.envoyId } })).code).toBe(
      'IDENTITY_MISMATCH',
    );
  });

  test('another fleet, another site, an unknown envoy', async () => {
    expect((await site.raw(one, site.checkInBytes(one, site.header(one, ++next, { fleet_id: Buffer.alloc(16, 1) })))).code).toBe(
      'IDENTITY_MISMATCH',
    );
    expect((await site.raw(one, site.checkInBytes(one, site.header(one, ++next, { audience: 'eu' })))).code).toBe('WRONG_AUDIENCE');
    const unknown = '019e0000-0000-7000-8000-0000000000aa';
    const { siteCa } = site.server.parts.identity;
    const { csr, privateKey } = await createRequest();
    const certificateChain =
      (await createEnvoyCertificate(siteCa, { fleetId: one.identity.fleetId, envoyId: unknown }, csr, 1, Date.now())) + siteCa.certificate;
    const request = site.checkInBytes(one, site.header(one, ++next, { envoy_id: idBytes(unknown) }));
    expect((await site.raw(one, request, { session: site.connect({ certificateChain, privateKey }, one.identity.caBundle) })).code).toBe(
      'RETRY_ELSEWHERE',
    );
  });
});

describe('bytes', () => {
  test('any changed bit of payload or signature is refused', async () => {
    const request = site.checkInBytes(one, site.header(one, ++next));
    // behind the tag and length of the payload; every 7th byte keeps the test short
    for (let at = 3; at < request.length; at += 7) {
      const changed = Buffer.from(request);
      changed[at]! ^= 0x10;
      const reply = await site.raw(one, changed);
      expect({ at, refused: reply.grpcStatus !== 0 }).toEqual({ at, refused: true });
    }
  });

  test('a signature for one method does not work for another', async () => {
    expect((await site.raw(one, site.checkInBytes(one, site.header(one, ++next), 'reportResults'))).code).toBe('BAD_SIGNATURE');
    expect((await site.raw(one, site.checkInBytes(one, site.header(one, ++next), 'checkIn'), { method: 'reportResults' })).code).toBe(
      'BAD_SIGNATURE',
    );
  });

  test('garbage of any size is an error and no crash', async () => {
    for (const garbage of [
      Buffer.alloc(0),
      Buffer.from('x'),
      Buffer.alloc(1000, 0xff),
      Buffer.concat([Buffer.from([10, 5]), Buffer.alloc(5)]),
    ]) {
      expect((await site.raw(one, garbage)).code).toBe('BAD_REQUEST');
    }
    expect((await site.raw(one, Buffer.alloc(5 * 1024 * 1024))).grpcStatus).toBe(8);
    expect((await site.raw(one, site.checkInBytes(one, site.header(one, ++next)))).grpcStatus).toBe(0);
  });
});

describe('sessions and revocation', () => {
  test('a stolen TLS session gives a connection at most: no request succeeds without the key, and none after revocation', async () => {
    const victim = await site.enroll('victim.example.com');
    const tickets: Buffer[] = [];
    const session = site.connect(victim.identity.tls, victim.identity.caBundle);
    session.socket.on('session', (ticket: Buffer) => tickets.push(ticket));
    expect((await site.raw(victim, site.checkInBytes(victim, site.header(victim, ++next)), { session })).grpcStatus).toBe(0);
    await eventually(() => expect(tickets.length).toBeGreaterThan(0));
    session.destroy();
    const stolen = tickets.at(-1)!;
    const thief = site.connect({ session: stolen }, victim.identity.caBundle);
    const reply = await site.raw(victim, site.checkInBytes(victim, site.header(victim, ++next), 'checkIn', newSigningKey()), {
      session: thief,
    });
    expect(reply.code).toBe('BAD_SIGNATURE');
    thief.destroy();
    const { fleet, dropConnections } = site.server.parts;
    fleet.revoke(fleet.slotOf(victim.identity.envoyId));
    dropConnections(victim.identity.envoyId);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await expect(
      site.raw(victim, site.checkInBytes(victim, site.header(victim, ++next)), {
        session: site.connect({ session: stolen }, victim.identity.caBundle),
      }),
    ).rejects.toThrow();
    expect((await site.raw(victim, site.checkInBytes(victim, site.header(victim, ++next)))).code).toBe('REVOKED');
  });

  test('a revoked envoy is told so by a signature that its agent believes', async () => {
    const envoy = await site.enroll('revoked.example.com');
    const message = {
      release: 0,
      bodySchema: 0,
      policyHash: '',
      heldHeaderHash: '',
      heldSeq: 0,
      highestEpoch: 0,
      ownerEpoch: 1,
      secretsEpoch: 0,
      traits: { hash: '', full: false, set: {}, removed: [] },
      pendingResults: 0,
      mode: 'enforce',
      flags: [],
      authorityHash: '',
      renew: false,
      bundleRejected: '',
    };
    expect((await envoy.link.checkIn(message, AbortSignal.timeout(5000))).kind).toBe('bundle');
    site.server.parts.fleet.revoke(site.server.parts.fleet.slotOf(envoy.identity.envoyId));
    const error = await envoy.link.checkIn(message, AbortSignal.timeout(5000)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'REVOKED' });
    expect(envoy.trust.isSignedRevocation(error as never, envoy.identity.envoyId)).toBe(true);
    expect(envoy.trust.isSignedRevocation(error as never, two.identity.envoyId)).toBe(false);
  });
});
