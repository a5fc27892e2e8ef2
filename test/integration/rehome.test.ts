/** Agents that change owner: real agents, real sites of one fleet, real sockets. A grant that holds is followed, any other changes nothing. */
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type Server } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { formatStatus } from '../../agent/commands/status.ts';
import { statusFacts } from '../../agent/commands/status-facts.ts';
import { ownHostname } from '../../agent/enroll/register.ts';
import type { Agent } from '../../agent/runtime.ts';
import { LocalSystem } from '../../agent/system/local-system.ts';
import type { RenewRequest } from '../../core/api/enroll.ts';
import { systemClock } from '../../core/base/clock.ts';
import { CodedError, ERROR_CODES } from '../../core/base/errors.ts';
import type { EnvoyId } from '../../core/base/ids.ts';
import { signRevocation } from '../../core/crypto/delegation.ts';
import { restServerOptions } from '../../core/crypto/tls.ts';
import type { SignedGrant } from '../../core/policy/ownership.ts';
import { eventually } from '../harness/eventually.ts';
import { FleetOfSites, type Machine } from '../harness/fleet-of-sites.ts';
import { freePort } from '../harness/free-port.ts';
import { type TestSite, testRelease } from '../harness/test-site.ts';

const fleet = new FleetOfSites();
let a: TestSite;
let b: TestSite;
let names = 0;

const signal = new AbortController().signal;
const address = (site: TestSite) => `localhost:${site.server.rpcPort}`;
const talk = (agent: Agent) => agent.cycle({ signal, talk: true });
const offline = (agent: Agent) => agent.cycle({ signal, talk: false });
const owner = (agent: Agent) => agent.state.facts.get('owner');
const holds = (agent: Agent) => {
  const header = agent.state.policy.held()?.header;
  return { site: header?.site_id, epoch: header?.owner_epoch, release: header?.release };
};
const said = ({ log }: Machine, text: string) => log.lines.filter(({ msg }) => msg.includes(text)).length;

async function runIds(site: TestSite, envoyId: EnvoyId): Promise<string[]> {
  await site.server.parts.intake.settle();
  return (await site.server.parts.store.runs.newest(envoyId, 100)).map(({ report }) => report.run_id);
}

async function enrolled(site: TestSite, fallbacks: readonly string[] = []): Promise<{ machine: Machine; agent: Agent; id: EnvoyId }> {
  const machine = await fleet.machine(site, `host${++names}.${ownHostname().split('.')[0]}.example.com`, fallbacks);
  const agent = machine.open();
  expect((await talk(agent)).problem).toBeUndefined();
  return { machine, agent, id: machine.envoyId };
}

beforeAll(async () => {
  await fleet.start();
  a = await fleet.spoke('a');
  b = await fleet.spoke('b');
  await a.server.parts.releases.use(testRelease(7, { note: 'of the fleet' }));
  await b.server.parts.releases.use(testRelease(7, { note: 'of the fleet' }));
}, 60_000);
afterAll(() => fleet.close());

describe('a grant that holds', () => {
  test('is followed in the same cycle: everything queued goes to the new owner, once, and a restart goes straight there', async () => {
    const { machine, agent, id } = await enrolled(a);
    expect(holds(agent)).toEqual({ site: 'a', epoch: 1, release: 7 });
    const before = await runIds(a, id);
    for (let i = 0; i < 3; i++) expect((await offline(agent)).report).toBeDefined();
    expect(agent.state.results.count()).toBe(3);
    const queued = agent.state.results.pending(10, 1e6).map(({ run_id }) => run_id);
    await fleet.move(id, a, b, 2);
    const { problem, report } = await talk(agent);
    expect(problem).toBeUndefined();
    expect(holds(agent)).toEqual({ site: 'b', epoch: 2, release: 7 });
    expect(owner(agent)).toMatchObject({ site_id: 'b', owner_epoch: 2, servers: [address(b)], previous: [address(a)] });
    expect(agent.state.results.count()).toBe(0);
    expect(await runIds(a, id)).toEqual(before);
    const arrived = await runIds(b, id);
    expect(new Set(arrived).size).toBe(arrived.length);
    expect(new Set(arrived)).toEqual(new Set([...before, ...queued, report!.run_id]));
    await eventually(async () =>
      expect(await b.server.parts.ownership.confirmations.pending()).toContainEqual({ envoyId: id, ownerEpoch: 2 }),
    );

    await a.server.parts.ownership.forget(id, 2);
    const again = machine.open();
    expect((await talk(again)).problem).toBeUndefined();
    expect(said(machine, 'new owner')).toBe(1);
    expect(holds(again)).toMatchObject({ site: 'b', epoch: 2 });
  });

  test('ends the time of a site that claimed any epoch it liked', async () => {
    const { agent, id } = await enrolled(a);
    const record = await a.server.parts.ownership.export(id);
    const { fleet: index, ownership } = a.server.parts;
    const slot = index.slotOf(id);
    index.columns.ownerEpoch[slot] = 4_000_000_000;
    index.forcePush(slot);
    expect((await talk(agent)).problem).toBeUndefined();
    expect(holds(agent)).toMatchObject({ site: 'a', epoch: 4_000_000_000 });
    await b.server.parts.ownership.prepare(record, 2);
    const grant = fleet.grant(id, b, 2);
    await b.server.parts.ownership.activate(id, grant);
    index.depart(slot);
    ownership.lookup = async () => grant;
    expect((await talk(agent)).problem).toBeUndefined();
    ownership.lookup = undefined;
    expect(holds(agent)).toMatchObject({ site: 'b', epoch: 2 });
  });

  test('shows in the status, and leaves the config file as it was', async () => {
    const { machine, agent, id } = await enrolled(a, ['localhost:1']);
    const config = readFileSync(join(machine.settings.configDir, 'config'), 'utf8');
    const shown = () => statusFacts(machine.settings, new LocalSystem(), Date.now());
    expect(await shown()).toMatchObject({ spoke: null, owner_epoch: 1, fallback_servers: ['localhost:1'] });
    await fleet.move(id, a, b, 2);
    expect((await talk(agent)).problem).toBeUndefined();
    const facts = await shown();
    const fallbacks = [address(fleet.hub), address(a), 'localhost:1'];
    expect(facts).toMatchObject({ spoke: `${address(b)} (b)`, owner_epoch: 2, fallback_servers: fallbacks });
    expect(formatStatus(facts)).toContain(
      `Spoke:            ${address(b)} (b)\nOwner epoch:      2\nFallback servers: ${fallbacks.join(', ')}\n`,
    );
    expect(readFileSync(join(machine.settings.configDir, 'config'), 'utf8')).toBe(config);
  });

  test('that leads back and forth is followed three times a cycle, and ends where the highest epoch says', async () => {
    const { machine, agent, id } = await enrolled(a);
    for (let epoch = 2; epoch <= 4; epoch++) await fleet.move(id, epoch % 2 === 0 ? a : b, epoch % 2 === 0 ? b : a, epoch);
    expect((await talk(agent)).problem).toBeUndefined();
    expect(holds(agent)).toMatchObject({ site: 'b', epoch: 4 });
    // a hub gone mad: every answer names another site with a higher epoch
    let epoch = 4;
    for (const site of [a, b]) {
      const { fleet: index, ownership } = site.server.parts;
      index.depart(index.slotOf(id));
      await site.server.parts.store.ownerships.remove(id);
      ownership.lookup = async () => fleet.grant(id, site === a ? b : a, ++epoch);
    }
    const moves = said(machine, 'new owner');
    const { problem, report } = await talk(agent);
    expect(problem?.code).toMatch(/REDIRECT|WRONG_AUDIENCE/);
    expect(report?.outcomes).toEqual([]);
    expect(said(machine, 'new owner') - moves).toBe(3);
    for (const site of [a, b]) site.server.parts.ownership.lookup = undefined;
  });

  test('comes from a fallback when the owner before is gone', async () => {
    const dead = await fleet.spoke('dead');
    await dead.server.parts.releases.use(testRelease(7, { note: 'of the fleet' }));
    const { agent, id } = await enrolled(dead, [address(fleet.hub)]);
    const record = await dead.server.parts.ownership.export(id);
    await dead.stop();
    expect((await talk(agent)).problem?.code).toBe('WRONG_AUDIENCE');
    await b.server.parts.ownership.prepare(record, 2);
    const grant = fleet.grant(id, b, 2);
    await b.server.parts.ownership.activate(id, grant);
    fleet.hub.server.parts.ownership.lookup = async (envoyId) => (envoyId === id ? grant : undefined);
    expect((await talk(agent)).problem).toBeUndefined();
    expect(holds(agent)).toMatchObject({ site: 'b', epoch: 2 });
    await dead.start();
  });

  test('is taken with the addresses that it names later, and never with those of before', async () => {
    const { agent, id } = await enrolled(a);
    const now = Date.now();
    await fleet.move(id, a, b, 2, { servers: [`localhost:${await freePort()}`], issued_at: now });
    const { ownerships } = a.server.parts.store;
    expect((await talk(agent)).problem?.code).toBe('WRONG_AUDIENCE');
    const tell = async (grant: SignedGrant) => ownerships.put({ ...(await ownerships.of(id))!, grant: JSON.stringify(grant) });
    await tell(fleet.grant(id, b, 2, { servers: ['localhost:1'], issued_at: now - 1 }));
    expect((await talk(agent)).problem?.code).toBe('WRONG_AUDIENCE');
    expect(owner(agent)?.issued_at).toBe(now);
    await tell(fleet.grant(id, b, 2, { issued_at: now + 1 }));
    expect((await talk(agent)).problem).toBeUndefined();
    expect(owner(agent)).toMatchObject({ servers: [address(b)], previous: [address(a)] });
  });
});

describe('renewal', () => {
  /** The REST port of a site, as far as an agent needs it to renew. */
  async function restOf(site: TestSite, answer: (body: RenewRequest) => Promise<object>): Promise<Server> {
    const { identity } = site.server.parts;
    const respond = async (request: IncomingMessage, response: ServerResponse) => {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part as Buffer);
      try {
        response.end(JSON.stringify(await answer(JSON.parse(Buffer.concat(parts).toString('utf8')) as RenewRequest)));
      } catch (thrown) {
        const { code, message, details } = thrown as CodedError;
        response.writeHead(ERROR_CODES[code].http ?? 500).end(JSON.stringify({ code, detail: message, ...details }));
      }
    };
    const server = createHttpsServer(
      restServerOptions(identity.rootCa, identity.tls),
      (request, response) => void respond(request, response),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return server;
  }
  const urlOf = (server: Server) => `https://localhost:${(server.address() as { port: number }).port}`;

  test('of a certificate by a machine that slept through the move happens at the new owner', async () => {
    let redirect: SignedGrant | undefined;
    const before = await restOf(a, () => Promise.reject(new CodedError('REDIRECT', 'another site owns it', { details: { redirect } })));
    const after = await restOf(b, (request) => b.server.parts.renew(request, '127.0.0.1'));
    try {
      const machine = await fleet.machine(a, 'sleeper.example.com', [], urlOf(before));
      redirect = await fleet.move(machine.envoyId, a, b, 2, { api_url: urlOf(after) });
      const later = { ...systemClock, now: () => Date.now() + 80 * 86_400_000 };
      const agent = machine.open({
        ...later,
        sleep: systemClock.sleep.bind(systemClock),
        monotonic: systemClock.monotonic.bind(systemClock),
      });
      const certificate = readFileSync(join(machine.settings.configDir, 'tls.pem'), 'utf8');
      expect((await talk(agent)).problem).toBeUndefined();
      expect(owner(agent)).toMatchObject({ site_id: 'b', api_url: urlOf(after) });
      expect(said(machine, 'certificate was renewed')).toBe(1);
      expect(readFileSync(join(machine.settings.configDir, 'tls.pem'), 'utf8')).not.toBe(certificate);
      expect(holds(agent)).toMatchObject({ site: 'b', epoch: 2 });
    } finally {
      before.close();
      after.close();
    }
  });
});

describe('a fallback', () => {
  test('that serves the owner’s envoys is kept, and the owner is tried again after ten cycles', async () => {
    const { agent, id } = await enrolled(a);
    const port = await freePort();
    await fleet.move(id, a, b, 2, { servers: [`localhost:${port}`, address(b)] });
    let dialled = 0;
    const gone = createServer((socket) => {
      dialled += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => gone.listen(port, '127.0.0.1', resolve));
    expect((await talk(agent)).problem).toBeUndefined();
    expect(holds(agent)).toMatchObject({ site: 'b', epoch: 2 });
    // a closed channel may try once more
    await systemClock.sleep(1_500);
    const atFirst = dialled;
    expect(atFirst).toBeGreaterThan(0);
    for (let i = 0; i < 9; i++) expect((await talk(agent)).problem).toBeUndefined();
    expect(dialled).toBe(atFirst);
    expect((await talk(agent)).problem).toBeUndefined();
    expect(dialled).toBeGreaterThan(atFirst);
    gone.close();
  });
});

describe('a redirect that does not hold', () => {
  let machine: Machine;
  let agent: Agent;
  let id: EnvoyId;
  /** what the site says instead of the truth */
  const tell = (redirect: unknown) => {
    a.server.parts.ownership.lookup = async (envoyId) => (envoyId === id ? (redirect as SignedGrant) : undefined);
  };
  beforeAll(async () => {
    ({ machine, agent, id } = await enrolled(a));
    const { fleet: index } = a.server.parts;
    index.depart(index.slotOf(id));
  });
  afterAll(() => {
    a.server.parts.ownership.lookup = undefined;
  });

  const FORGED: readonly (readonly [string, () => unknown, RegExp])[] = [
    ['of a spoke', () => fleet.grant(id, b, 9, {}, fleet.signer(b)), /does not allow "redirect"/],
    ['under another root', () => fleet.grant(id, b, 9, {}, fleet.stranger()), /not signed by the pinned root/],
    ['of another fleet', () => fleet.grant(id, b, 9, { fleet_id: id }), /another fleet/],
    ['with a delegation of another fleet', () => fleet.grant(id, b, 9, {}, fleet.stranger(id, fleet.root)), /another fleet/],
    ['for another envoy', () => fleet.grant(fleet.hub.server.parts.identity.serverId, b, 9), /another envoy/],
    ['changed on the way', () => ({ ...fleet.grant(id, b, 9), record: fleet.grant(id, b, 10).record }), /not signed by the key/],
    ['with a signature of no length', () => ({ ...fleet.grant(id, b, 9), signature: '' }), /./],
    ['without https', () => fleet.grant(id, b, 9, { api_url: 'http://localhost:1' }), /no usable address/],
    ['without a port', () => fleet.grant(id, b, 9, { servers: ['localhost'] }), /no usable address/],
    ['that is garbage', () => ({ record: 7 }), /unknown shape/],
    ['that is a word', () => 'go away', /unknown shape/],
    ['with a delegation that is garbage', () => ({ ...fleet.grant(id, b, 9), delegation: { record: '{', signature: 'x' } }), /./],
  ];
  test.each(FORGED)('%s is refused, logged, and changes nothing', async (_, forged, reason) => {
    tell(forged());
    const lines = machine.log.lines.length;
    const { problem, report } = await talk(agent);
    expect(problem?.code).toBe('REDIRECT');
    expect(report).toBeDefined();
    expect(owner(agent)).toBeUndefined();
    expect(holds(agent)).toMatchObject({ site: 'a', epoch: 1 });
    const line = machine.log.lines.slice(lines).find(({ msg }) => msg.includes('redirect was refused'));
    expect((line?.fields as { reason?: string } | undefined)?.reason).toMatch(reason);
  });

  test('by a key that the root has revoked is refused', async () => {
    const signer = fleet.stranger(undefined, fleet.root);
    const { serial } = JSON.parse(signer.delegation.record) as { serial: string };
    const { fleetId } = fleet.hub.server.parts.identity;
    await agent.state.facts.set('revocations', [signRevocation(fleet.root, { fleet_id: fleetId, serial, at: Date.now() })]);
    const later = machine.open();
    tell(fleet.grant(id, b, 9, {}, signer));
    expect((await talk(later)).problem?.code).toBe('REDIRECT');
    expect(owner(later)).toBeUndefined();
    const refusals = machine.log.lines.filter(({ msg }) => msg.includes('redirect was refused')).map(({ fields }) => fields);
    expect(refusals.at(-1)).toMatchObject({ reason: expect.stringContaining('is revoked') });
  });

  test('with an epoch that another site has is equivocation: refused, and told in the next check-in', async () => {
    tell(fleet.grant(id, b, 1));
    expect((await talk(agent)).problem?.code).toBe('REDIRECT');
    expect(owner(agent)).toBeUndefined();
    expect(agent.state.facts.get('ownerEquivocation')).toBe(true);
    const { fleet: index, store } = a.server.parts;
    const row = (await store.envoys.byId(id))!;
    index.load({ ...row, status: 'active', sequence: index.view(index.slotOf(id)).sequence });
    expect((await talk(agent)).problem).toBeUndefined();
    expect(agent.state.facts.get('ownerEquivocation')).toBe(false);
    await eventually(async () => {
      const told = fleet.log.lines.filter(({ msg }) => msg.includes('reports trouble')).map(({ fields }) => fields);
      expect(told).toEqual([{ event: 'envoy.equivocation', envoy_id: id, detail: 'equivocation' }]);
    });
    expect((await talk(agent)).problem).toBeUndefined();
  });

  test('with a lower epoch is ignored', async () => {
    const moved = await enrolled(a);
    await fleet.move(moved.id, a, b, 5);
    expect((await talk(moved.agent)).problem).toBeUndefined();
    const { fleet: index, store, ownership } = b.server.parts;
    index.depart(index.slotOf(moved.id));
    await store.ownerships.remove(moved.id);
    ownership.lookup = async () => fleet.grant(moved.id, a, 4);
    expect((await talk(moved.agent)).problem?.code).toBe('REDIRECT');
    ownership.lookup = undefined;
    expect(owner(moved.agent)).toMatchObject({ site_id: 'b', owner_epoch: 5 });
    expect(said(moved.machine, 'older redirect')).toBeGreaterThan(0);
  });

  test('nothing at all: a server that lags makes the agent forget nothing', async () => {
    const lost = await enrolled(a);
    const { fleet: index } = a.server.parts;
    index.depart(index.slotOf(lost.id));
    const { problem, report } = await talk(lost.agent);
    expect(problem?.code).toBe('RETRY_ELSEWHERE');
    expect(report?.outcomes).toEqual([]);
    expect(lost.agent.state.facts.get('revoked') ?? false).toBe(false);
    expect(holds(lost.agent)).toMatchObject({ site: 'a', release: 7 });
  });
});
