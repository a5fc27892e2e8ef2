/** Enrolment across servers: a hub and two spokes with real sockets, real links and real agents. */
import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { agentPaths, enrollKeys } from '../../agent/enroll/identity.ts';
import type { EnrollRequest } from '../../core/api/enroll.ts';
import { type EnvoyId, idBytes } from '../../core/base/ids.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import { signFor } from '../../core/crypto/domain.ts';
import { newSigningKey } from '../../core/crypto/ed25519.ts';
import { readKeyFile, readSigningKey } from '../../core/crypto/key-file.ts';
import { codecs } from '../../proto/load.ts';
import { renewContentHash } from '../../server/enroll/renew.ts';
import { eventually } from '../harness/eventually.ts';
import { type EnrolledMachine, enrolRequest, HubAndSpokes, post, type RoleSite } from '../harness/hub-and-spokes.ts';
import { callOn } from '../harness/test-site.ts';

const fleet = new HubAndSpokes();
let [a, b, hub] = [] as unknown as [RoleSite, RoleSite, RoleSite];
let csr = '';
let names = 0;
const fresh = (site: string) => `host${++names}.${site}.test`;
const signal = new AbortController().signal;
const request = (hostname: string, token: string | undefined, key = newSigningKey(), more: Partial<EnrollRequest> = {}) =>
  enrolRequest(csr, hostname, token, key, more);
const spentOf = async (site: RoleSite, token: string) => (await site.parts.store.tokens.byId(token.split('_')[1]!))?.spent;
/** sites that have a live envoy of that name */
const owners = async (hostname: string) => {
  const found: string[] = [];
  for (const site of [hub, a, b]) if ((await site.parts.store.envoys.byHostname(hostname))?.status === 'active') found.push(site.id);
  return found;
};
const inRoster = (hostname: string, owner: string) =>
  eventually(async () => expect((await hub.parts.store.roster.byHostname(hostname)).map(({ ownerSite }) => ownerSite)).toEqual([owner]));

beforeAll(async () => {
  await fleet.start(
    { a: ['*.a.test', 'shared-a*.test'], b: ['*.b.test'] },
    { spoke: { spanner: { offline_enroll_tokens: 5 }, enrollment: { pending: ['wait*.test', 'wait*.*.test'] } } },
  );
  hub = fleet.hub;
  [a, b] = [fleet.spokes['a']!, fleet.spokes['b']!];
  csr = (await enrollKeys(join(fleet.dir, 'csr'))).csr;
}, 90_000);
afterAll(() => fleet.close());

async function linkDown(spoke: RoleSite): Promise<void> {
  await spoke.stop();
  // the hub has noticed
  await eventually(async () => expect((await post(hub, request(fresh(spoke.id), await hub.token('*')))).code).toBe('SPOKE_UNAVAILABLE'));
}

describe('at the hub', () => {
  test('a host is enrolled at the spoke where its name belongs, checks in and renews there', async () => {
    const hostname = fresh('a');
    const token = await hub.token('*.a.test');
    const machine = await fleet.enrol(hub, hostname, token);
    expect(machine.server).toBe(a.address);
    const config = readFileSync(join(machine.configDir, 'config'), 'utf8');
    for (const line of [
      `api_addr = ${a.api}`,
      `fallback_servers = ${hub.address}`,
      `spoke = ${a.address}`,
      'site_id = a',
      'owner_epoch = 1',
    ])
      expect(config).toContain(line);
    await machine.open().cycle({ signal, talk: true });
    expect(a.parts.fleet.get(machine.envoyId as EnvoyId)).toMatchObject({ active: true });
    expect(a.parts.fleet.get(machine.envoyId as EnvoyId)!.lastSeen).toBeGreaterThan(0);
    expect(hub.parts.fleet.slotOf(machine.envoyId)).toBe(-1);
    expect(await spentOf(hub, token)).toMatchObject({ envoyId: machine.envoyId, hostname, site: 'a' });
    await inRoster(hostname, 'a');

    const keys = { csr, sealing_key: Buffer.alloc(32, 9).toString('base64') };
    const renewal = (audience: string, sequence: number) => {
      const header = { ...headerOf(machine, audience, sequence) };
      const payload = codecs.renewPayload.encode({ header, content_hash: renewContentHash(keys.csr, keys.sealing_key) });
      const signature = signFor('renew', keyOf(machine), payload);
      return { ...keys, signed: { payload: payload.toString('base64'), signature: signature.toString('base64') } };
    };
    const at = Date.now() * 4096;
    const renewed = await a.parts.renew(renewal('a', at), '127.0.0.1');
    expect(renewed.certificate).toContain('BEGIN CERTIFICATE');
    expect(renewed.delegation).toEqual(a.parts.identity.delegation);
    await expect(b.parts.renew(renewal('a', at + 1), '127.0.0.1')).rejects.toMatchObject({ code: 'WRONG_AUDIENCE' });
    await expect(b.parts.renew(renewal('b', at + 1), '127.0.0.1')).rejects.toMatchObject({ code: 'RETRY_ELSEWHERE' });
  });

  test('labels of the token reach the envoy; the order and its token are in both audit logs', async () => {
    const hostname = fresh('b');
    const { token } = await hub.parts.tokens.create(
      { pattern: '*', ttlMs: 60_000, labels: { rack: 'r7' } },
      { kind: 'system', id: 'test', name: 'test' },
    );
    const { reply } = await post(hub, request(hostname, token));
    expect((await b.parts.store.envoys.byId(reply.envoy_id as EnvoyId))?.labels).toEqual({ rack: 'r7' });
    expect((await hub.audit('token.spent'))[0]).toMatchObject({ data: { spoke: 'b' }, actor: { name: hostname } });
    expect((await b.audit('envoy.enrolled'))[0]).toMatchObject({ target: { id: reply.envoy_id } });
  });

  test('no route: refused, and the token stays unspent', async () => {
    const token = await hub.token('*');
    expect((await post(hub, request('host.elsewhere.test', token))).code).toBe('NO_ROUTE');
    expect(await spentOf(hub, token)).toBeUndefined();
  });

  test('a token for one spoke is good for hosts of that spoke alone, wherever it is shown', async () => {
    const token = await hub.token('*', 'b');
    const [forA, forB] = [fresh('a'), fresh('b')];
    for (const site of [hub, a]) expect((await post(site, request(forA, token))).code).toBe('TOKEN_HOSTNAME_MISMATCH');
    expect(await spentOf(hub, token)).toBeUndefined();
    expect((await post(hub, request(forB, token))).status).toBe(201);
  });

  test('a lost reply: the same keys get the same envoy at the hub and at its site, other keys and other sites are refused and recorded', async () => {
    const [hostname, token, key] = [fresh('a'), await hub.token('*.a.test'), newSigningKey()];
    const first = await post(hub, request(hostname, token, key));
    expect(first.status).toBe(201);
    for (const site of [hub, a, hub]) {
      const again = await post(site, request(hostname, token, key));
      expect({ code: again.code, id: again.reply.envoy_id }).toEqual({ code: '', id: first.reply.envoy_id });
    }
    expect((await post(b, request(hostname, token, key))).code).toBe('TOKEN_ALREADY_SPENT');
    const other = newSigningKey();
    for (const site of [hub, a, b]) expect((await post(site, request(hostname, token, other))).code).toBe('TOKEN_ALREADY_SPENT');
    expect((await post(hub, request(fresh('a'), token, key))).code).toBe('TOKEN_ALREADY_SPENT');
    expect((await hub.audit('token.misused')).length).toBeGreaterThanOrEqual(4);
    expect(await owners(hostname)).toEqual(['a']);
  });

  test('a refusal of the site gives the token back: name taken, key enrolled, no certificate request', async () => {
    const [hostname, key] = [fresh('a'), newSigningKey()];
    expect((await post(hub, request(hostname, await hub.token('*'), key))).status).toBe(201);
    const token = await hub.token('*');
    expect((await post(hub, request(hostname, token))).code).toBe('HOSTNAME_TAKEN');
    expect((await post(hub, request(hostname, token, key))).code).toBe('KEY_ALREADY_ENROLLED');
    expect((await post(hub, request(fresh('a'), token, newSigningKey(), { csr: 'nonsense' }))).code).toBe('BAD_CSR');
    expect(await spentOf(hub, token)).toBeUndefined();
    expect((await hub.audit('token.unspent')).length).toBeGreaterThanOrEqual(3);
    expect((await post(hub, request(fresh('a'), token))).status).toBe(201);
  });

  test('a name that lives at another site than its route is decided there', async () => {
    const hostname = fresh('a');
    const { token: local } = await b.parts.tokens.create({ pattern: '*', ttlMs: 60_000 }, { kind: 'system', id: 'test', name: 'test' });
    const key = newSigningKey();
    expect((await post(b, request(hostname, local, key))).status).toBe(201);
    await inRoster(hostname, 'b');
    const token = await hub.token('*');
    const spent = (await hub.audit('token.spent')).length;
    for (const site of [hub, a]) expect((await post(site, request(hostname, token))).code).toBe('HOSTNAME_TAKEN');
    // the word of b alone draws no machine of a to it: nothing was ordered there
    expect((await hub.audit('token.spent')).length).toBe(spent);
    const anew = newSigningKey();
    const wanted = request(hostname, token, anew, { force: true });
    const { proof: _proof, ...unsigned } = wanted;
    const proven = { ...wanted, old_key_proof: signFor('enroll', key, canonicalBytes(unsigned)).toString('base64') };
    expect((await post(hub, proven)).reply.site_id).toBe('b');
    expect(await owners(hostname)).toEqual(['b']);
  });

  test('what waits for an admin waits at its site, and is enrolled when it asks again', async () => {
    const [hostname, key] = [`wait${++names}.a.test`, newSigningKey()];
    const waiting = await post(hub, request(hostname, undefined, key));
    expect(waiting.status).toBe(202);
    const { enrollment_id: id } = waiting.reply as unknown as { enrollment_id: EnvoyId };
    expect((await post(hub, request(hostname, undefined, key))).reply).toMatchObject({ enrollment_id: id });
    await a.parts.store.envoys.setStatus(id, 'active', '');
    expect((await post(hub, request(hostname, undefined, key))).reply.envoy_id).toBe(id);
    expect((await post(hub, request(fresh('a'), undefined))).code).toBe('TOKEN_UNKNOWN');
  });

  test.each([
    ['a name in front', '*.a.test', 'x.a.test.b.test', 'TOKEN_HOSTNAME_MISMATCH'],
    ['upper case', '*', 'X.A.test', 'HOSTNAME_INVALID'],
    ['a dot at the end', '*', 'x.a.test.', 'HOSTNAME_INVALID'],
    ['an end of line', '*', 'x.a.test\n.b.test', 'HOSTNAME_INVALID'],
    ['a NUL', '*', 'x.a.test\u0000.b.test', 'HOSTNAME_INVALID'],
    ['a glob', '*', '*.a.test', 'HOSTNAME_INVALID'],
    ['prototype', '*', '__proto__', 'HOSTNAME_INVALID'],
    ['constructor', '*', 'constructor', 'NO_ROUTE'],
  ])('a name is not bent on its way to a spoke: %s', async (_name, pattern, hostname, code) => {
    const token = await hub.token(pattern);
    for (const site of [hub, a]) {
      const answer = await post(site, request(hostname, token));
      expect({ site: site.id, code: answer.code }).toEqual({ site: site.id, code: site === a && code === 'NO_ROUTE' ? '' : code });
    }
  });
});

const keyOf = (machine: EnrolledMachine) => readSigningKey(agentPaths(machine.configDir).identityKey);
const headerOf = (machine: EnrolledMachine, audience: string, sequence: number) => ({
  fleet_id: idBytes(hub.parts.identity.fleetId),
  envoy_id: idBytes(machine.envoyId),
  audience,
  highest_epoch: 0,
  owner_epoch: 1,
  sequence,
  sent_at_ms: Date.now(),
});

describe('at a spoke', () => {
  test('a token of the hub works: the hub spends it', async () => {
    const [hostname, token, key] = [fresh('a'), await hub.token('*'), newSigningKey()];
    const { reply, status } = await post(a, request(hostname, token, key));
    expect(status).toBe(201);
    expect(reply).toMatchObject({ site_id: 'a', server: a.address, api_url: a.api, fallback_servers: [hub.address], owner_epoch: 1 });
    expect(await spentOf(hub, token)).toMatchObject({ hostname, site: 'a' });
    for (const site of [a, hub]) expect((await post(site, request(hostname, token, key))).reply.envoy_id).toBe(reply.envoy_id);
    await inRoster(hostname, 'a');
  });

  test('what the spoke refuses after the hub spent the token gives it back', async () => {
    const hostname = fresh('a');
    expect((await post(a, request(hostname, await hub.token('*')))).status).toBe(201);
    const token = await hub.token('*');
    expect((await post(a, request(hostname, token))).code).toBe('HOSTNAME_TAKEN');
    expect((await post(a, request(fresh('a'), token, newSigningKey(), { csr: 'nonsense' }))).code).toBe('BAD_CSR');
    expect(await spentOf(hub, token)).toBeUndefined();
    expect((await post(b, request(fresh('b'), token))).status).toBe(201);
  });

  test('unknown, malformed and wrong tokens are refused alike, and expired, revoked and foreign ones as at the hub', async () => {
    const token = await hub.token('*.b.test');
    const [prefix, id, secret, pin] = token.split('_');
    const wrong = `${prefix}_${id}_${secret!.replace(/^./, (c) => (c === '0' ? '1' : '0'))}_${pin}`;
    for (const text of [wrong, `${prefix}_${'0'.repeat(16)}_${secret}_${pin}`, 'vgt_x', ''])
      expect((await post(b, request(fresh('b'), text))).code).toBe('TOKEN_UNKNOWN');
    expect((await post(a, request(fresh('a'), token))).code).toBe('TOKEN_HOSTNAME_MISMATCH');
    await hub.parts.tokens.revoke(id!, { kind: 'system', id: 'test', name: 'test' });
    expect((await post(a, request(fresh('b'), token))).code).toBe('TOKEN_REVOKED');
  });

  test('of a hundred parallel uses of one token at the hub and two spokes exactly one enrols', async () => {
    const token = await hub.token('*');
    const sites = [hub, a, b];
    const wanted = Array.from({ length: 100 }, (_, index) => ({ site: sites[index % 3]!, hostname: fresh(index % 2 === 0 ? 'a' : 'b') }));
    // whoever is told to come back does so with the same keys, as an agent would
    const decided = async (site: RoleSite, asked: EnrollRequest) => {
      let answer = await post(site, asked);
      for (let i = 0; i < 10 && answer.status === 503; i++) answer = await post(site, asked);
      return answer;
    };
    const answers = await Promise.all(wanted.map(({ site, hostname }) => decided(site, request(hostname, token))));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(new Set(answers.filter(({ status }) => status !== 201).map(({ code }) => code))).toEqual(new Set(['TOKEN_ALREADY_SPENT']));
    const made = (await Promise.all(wanted.map(({ hostname }) => owners(hostname)))).flat();
    expect(made).toHaveLength(1);
  }, 120_000);
});

describe('a request that is played elsewhere', () => {
  test('a check-in signed for one site is refused by every other, with and without the certificate of its envoy', async () => {
    const machine = await fleet.enrol(hub, fresh('a'), await hub.token('*'));
    const payload = codecs.checkInRequest.encode({ header: headerOf(machine, 'a', Date.now() * 4096), protocol: 1, mode: 'enforce' });
    const bytes = codecs.signedRequest.encode({ payload, signature: signFor('checkIn', keyOf(machine), payload) });
    const tlsOf = ({ configDir }: EnrolledMachine) => {
      const paths = agentPaths(configDir);
      return { cert: readFileSync(paths.tlsCertificate, 'utf8'), key: readKeyFile(paths.tlsKey) };
    };
    const tls = tlsOf(machine);
    const other = await fleet.enrol(hub, fresh('b'), await hub.token('*'));
    const play = async (site: RoleSite, identity: typeof tls) => {
      const session = connect(`https://${site.address}`, { ca: hub.parts.identity.rootCa, minVersion: 'TLSv1.3', ...identity });
      try {
        return (await callOn(session, bytes, 'checkIn', {})).code;
      } finally {
        session.destroy();
      }
    };
    expect(await play(b, tls)).toBe('WRONG_AUDIENCE');
    expect(await play(hub, tls)).toBe('WRONG_AUDIENCE');
    expect(await play(b, tlsOf(other))).toBe('IDENTITY_MISMATCH');
    expect(await play(a, tls)).toBe('');
  });

  test('a captured enrolment gives whoever plays it nothing but the certificate of the key that asked', async () => {
    const [hostname, token, key] = [fresh('a'), await hub.token('*'), newSigningKey()];
    const captured = request(hostname, token, key);
    const { reply } = await post(hub, captured);
    const changed = [
      { ...captured, hostname: fresh('a') },
      { ...captured, sealing_key: Buffer.alloc(32, 7).toString('base64') },
      { ...captured, csr: (await enrollKeys(join(fleet.dir, 'thief'))).csr },
      { ...captured, identity_key: Buffer.from(newSigningKey().publicKey).toString('base64') },
    ];
    for (const site of [hub, a]) {
      for (const forged of changed) expect((await post(site, forged)).code).toBe('BAD_PROOF');
      expect((await post(site, captured)).reply.envoy_id).toBe(reply.envoy_id);
    }
    expect((await post(b, captured)).code).toBe('TOKEN_ALREADY_SPENT');
  });
});

describe('while a part is away', () => {
  test('a spoke is down: the token stays unspent, and works when it is back', async () => {
    await linkDown(a);
    const [hostname, token] = [fresh('a'), await hub.token('*.a.test')];
    const refused = await post(hub, request(hostname, token));
    expect({ code: refused.code, status: refused.status }).toEqual({ code: 'SPOKE_UNAVAILABLE', status: 503 });
    expect(await spentOf(hub, token)).toBeUndefined();
    await a.start();
    await eventually(async () => expect((await post(hub, request(hostname, token))).status).toBe(201), { timeoutMs: 20_000 });
    expect(await owners(hostname)).toEqual(['a']);
  }, 60_000);

  test('a spoke that drains takes nobody, neither by the hub nor with a token of the hub', async () => {
    await hub.stop();
    await hub.start();
    const token = await hub.token('*');
    await hub.parts.store.sites.update('b', { state: 'draining' });
    await hub.stop();
    await hub.start();
    await fleet.linked();
    for (const site of [hub, b])
      await eventually(async () => expect((await post(site, request(fresh('b'), token))).code).toBe('SPOKE_DRAINING'), {
        timeoutMs: 20_000,
      });
    expect(await spentOf(hub, token)).toBeUndefined();
    const { token: local } = await b.parts.tokens.create({ pattern: '*', ttlMs: 60_000 }, { kind: 'system', id: 'test', name: 'test' });
    expect((await post(b, request(fresh('b'), local))).code).toBe('SPOKE_DRAINING');
    await hub.parts.store.sites.update('b', { state: 'active' });
    await hub.stop();
    hub.configure({ spanner: { default_spoke: 'hub' } });
    await hub.start();
  }, 60_000);

  test('the hub enrols for itself what routes to it', async () => {
    const hostname = 'host.of-the-hub.example';
    const { reply } = await post(hub, request(hostname, await hub.token('*')));
    expect(reply).toMatchObject({ site_id: 'hub', server: hub.address, fallback_servers: [] });
    expect(reply.api_url).toBeUndefined();
    expect(hub.parts.fleet.get(reply.envoy_id as EnvoyId)?.active).toBe(true);
    await inRoster(hostname, 'hub');
  });

  test('the hub is down: its tokens wait, tokens of a permit work, and the hub learns of both when it is back', async () => {
    await eventually(async () => expect((await post(a, request(fresh('a'), await hub.token('*')))).status).toBe(201), {
      timeoutMs: 20_000,
    });
    const ofTheHub = await hub.token('*');
    await hub.stop();
    await eventually(async () => expect((await post(a, request(fresh('a'), ofTheHub))).code).toBe('SPOKE_UNAVAILABLE'));
    expect((await post(a, request(fresh('a'), ofTheHub))).hint).toContain('tokens made at this site work');

    const before = await a.parts.tokens.permits!.left();
    const [one, two] = await a.parts.tokens.createMany(
      2,
      { pattern: '*.a.test', ttlMs: 3_600_000 },
      { kind: 'system', id: 'test', name: 'test' },
    );
    expect(await a.parts.tokens.permits!.left()).toBe(before - 2);
    await expect(
      a.parts.tokens.createMany(before, { pattern: '*', ttlMs: 3_600_000 }, { kind: 'system', id: 'test', name: 'test' }),
    ).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
    const hostname = fresh('a');
    const machine = await fleet.enrol(a, hostname, one!.token);
    await machine.open().cycle({ signal, talk: true });
    expect((await post(a, request(fresh('a'), one!.token))).code).toBe('TOKEN_ALREADY_SPENT');
    expect((await post(b, request(fresh('b'), two!.token))).code).toBe('SPOKE_UNAVAILABLE');

    await hub.start();
    await inRoster(hostname, 'a');
    await fleet.linked();
    const used = (await a.parts.store.tokens.byId(one!.id))!.permit;
    await eventually(async () => expect(await hub.parts.store.permits.byId(used)).toMatchObject({ site: 'a', spentFor: one!.id }));
    expect((await hub.audit('permit.spent')).map(({ target }) => (target as unknown as { id: string }).id)).toEqual(
      expect.arrayContaining([one!.id, two!.id]),
    );
    expect(await a.audit('token.created')).toContainEqual(expect.objectContaining({ data: expect.objectContaining({ permit: used }) }));
    // each comes back in its own time
    const back = { timeoutMs: 20_000 };
    await eventually(async () => expect((await post(b, request(fresh('b'), two!.token))).code).toBe('TOKEN_UNKNOWN'), back);
    await eventually(async () => expect((await post(a, request(fresh('a'), ofTheHub))).status).toBe(201), back);
    expect((await post(a, request(fresh('a'), two!.token))).status).toBe(201);
  }, 90_000);
});
