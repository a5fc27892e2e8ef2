/** Enrolment across servers: a hub and two spokes with real sockets, real links and real agents. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { EnvoyId } from '../../core/base/ids.ts';
import { eventually } from '../harness/eventually.ts';
import { HubAndSpokes } from '../harness/hub-and-spokes.ts';

const fleet = new HubAndSpokes();
let names = 0;
const fresh = (site: string) => `host${++names}.${site}.test`;
const signal = new AbortController().signal;

beforeAll(async () => {
  await fleet.start({ a: ['*.a.test'], b: ['*.b.test'] }, { spoke: { spanner: { offline_enroll_tokens: 5 } } });
}, 90_000);
afterAll(() => fleet.close());

describe('at the hub', () => {
  test('a host is enrolled at the spoke where its name belongs, and checks in there', async () => {
    const { hub } = fleet;
    const a = fleet.spokes['a']!;
    const hostname = fresh('a');
    const token = await hub.token('*.a.test');
    const machine = await fleet.enrol(hub, hostname, token);
    expect(machine.server).toBe(a.address);
    const config = readFileSync(join(machine.configDir, 'config'), 'utf8');
    expect(config).toContain(`api_addr = ${a.api}`);
    expect(config).toContain(`fallback_servers = ${hub.address}`);
    expect(config).toContain(`spoke = ${a.address}`);
    expect(config).toContain('site_id = a');
    await machine.open().cycle({ signal, talk: true });
    expect(a.parts.fleet.get(machine.envoyId as EnvoyId)).toMatchObject({ active: true, lastSeen: expect.any(Number) });
    expect(a.parts.fleet.get(machine.envoyId as EnvoyId)!.lastSeen).toBeGreaterThan(0);
    expect(hub.parts.fleet.slotOf(machine.envoyId)).toBe(-1);
    const spent = (await hub.parts.store.tokens.byId(token.split('_')[1]!))?.spent;
    expect(spent).toMatchObject({ envoyId: machine.envoyId, hostname, site: 'a' });
    await eventually(async () => expect((await hub.parts.store.roster.byHostname(hostname))[0]?.ownerSite).toBe('a'));
  });
});
