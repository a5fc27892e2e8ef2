/** A spoke that lies to its hub, or talks without end: what it must not gain, and whom it must not stop. */
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { z } from 'zod';
import { fleetQuery, pageOf, pageQuery, route } from '../../core/api/route.ts';
import { systemClock } from '../../core/base/clock.ts';
import type { EnvoyId } from '../../core/base/ids.ts';
import { newSigningKey } from '../../core/crypto/ed25519.ts';
import { signGrant } from '../../core/policy/ownership.ts';
import { Asking } from '../../hub/fan-out/ask.ts';
import { fanOutHandlers } from '../../hub/fan-out/handlers.ts';
import { permissionsOf } from '../../server/access/roles.ts';
import { SYSTEM } from '../../server/audit/record.ts';
import { handler } from '../../server/rest/handler.ts';
import type { IdentityRecord, TravellingIdentity } from '../../server/spanner/identity-record.ts';
import { moveExport, siteStateKind } from '../../server/spanner/kinds/moves.ts';
import { query } from '../../server/spanner/kinds/query.ts';
import { type RosterEntry, rosterPull } from '../../server/spanner/kinds/roster.ts';
import { type Answer, answers, answersWithData, type LinkSession } from '../../server/spanner/link.ts';
import { pairedSessions } from '../../server/spanner/paired.ts';
import { eventually } from '../harness/eventually.ts';
import { type Moving, openMoving } from '../harness/moving-sites.ts';
import { siteAuthority } from '../harness/two-sites.ts';

jest.setTimeout(30_000);
const open: Moving[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

const STRANGER = '01980000-0000-7000-8000-00000000abcd';

function identityOf(id: string, hostname: string, key = newSigningKey().publicKey): TravellingIdentity {
  return {
    envoy_id: id,
    hostname,
    identity_key: Buffer.from(key).toString('base64'),
    sealing_key: Buffer.alloc(32, 7).toString('base64'),
    status: 'active',
    labels: {},
    enrolled_at: 1,
    certificate_expires_at: 4_000_000_000_000,
    platform: 'linux/x64',
    agent_version: '0.1.0',
    address: '',
    reason: '',
  };
}

function entryOf(identity: TravellingIdentity | null, more: Partial<RosterEntry> = {}): RosterEntry {
  return { envoy_id: identity?.envoy_id ?? STRANGER, seq: 1_000, state: 'owned', owner_epoch: 1, grant: null, identity, ...more };
}

/** The hub's end of a link to a site that answers as it likes. */
function liar(id: string, lies: readonly Answer[]): LinkSession {
  return pairedSessions({ siteId: 'hub', answers: [] }, { siteId: id, answers: lies })[0];
}

function rosterOf(id: string, entries: readonly RosterEntry[]): LinkSession {
  return liar(id, [answers(rosterPull, async () => ({ epoch: 1, anew: false, entries: [...entries], through: 1_000, complete: true }))]);
}

async function fleet() {
  const moving = await openMoving(['a', 'b', 'c']);
  open.push(moving);
  const { hub, sites } = moving;
  const [a, b, c] = [sites[0]!, sites[1]!, sites[2]!];
  const [ofA, ofB] = [await a.enrol('web1.a'), await b.enrol('web1.b')];
  for (const site of [a, b, c]) await hub.link(site);
  const row = (id: string) => hub.store.roster.byId(id as EnvoyId);
  await eventually(async () => expect([(await row(ofA))?.ownerSite, (await row(ofB))?.ownerSite]).toEqual(['a', 'b']));
  const keyOf = async (id: string) => (JSON.parse((await row(id))!.identity) as TravellingIdentity).identity_key;
  const move = (envoyId: EnvoyId, to: string) => hub.mover.move({ envoyId, to, actor: SYSTEM });
  return { hub, a, b, c, ofA, ofB, row, keyOf, move };
}

describe('the roster of a site that lies', () => {
  test('an epoch without a grant is neither believed nor remembered: its envoy and those of others can still be moved', async () => {
    const { hub, ofA, ofB, keyOf, row, move } = await fleet();
    const own = identityOf(ofA, 'web1.a', Buffer.from(await keyOf(ofA), 'base64'));
    const other = identityOf(ofB, 'web1.b', Buffer.from(await keyOf(ofB), 'base64'));
    const epoch = { owner_epoch: Number.MAX_SAFE_INTEGER };
    await hub.roster.pull(rosterOf('a', [entryOf(own, epoch), entryOf(other, epoch), entryOf(identityOf(STRANGER, 'x.a'), epoch)]), true);
    expect([(await row(ofA))?.highestEpoch, (await row(ofB))?.highestEpoch, await row(STRANGER)]).toEqual([1, 1, undefined]);
    expect(await move(ofB, 'c')).toMatchObject({ phase: 'COMMITTED', ownerEpoch: 2 });
    expect(await move(ofA, 'c')).toMatchObject({ phase: 'COMMITTED', ownerEpoch: 2 });
  });

  test('with a good grant of its own envoy it writes no row of another, also at a hub that forgot', async () => {
    const { hub, ofA, ofB, keyOf, row } = await fleet();
    const grant = signGrant(siteAuthority('hub'), {
      fleet_id: siteAuthority('hub').fleetId,
      envoy_id: ofA,
      site_id: 'a',
      owner_epoch: 7,
      servers: ['a:1530'],
      fallback_servers: [],
      api_url: 'https://a:8443',
      issued_at: Date.now(),
    });
    const before = [await row(ofB), await keyOf(ofA)];
    await hub.roster.pull(rosterOf('a', [entryOf(identityOf(ofB, 'web1.b'), { envoy_id: ofA, owner_epoch: 7, grant })]), true);
    await hub.roster.pull(rosterOf('a', [entryOf(identityOf(ofA, 'web1.a'), { owner_epoch: 7, grant })]), true);
    expect([await row(ofB), await keyOf(ofA)]).toEqual(before);
  });

  test.each(['web1.b', '__proto__', '\u001b[2Jweb', 'a b'])('its envoy does not become %j', async (hostname) => {
    const { hub, ofA, keyOf, row } = await fleet();
    const key = Buffer.from(await keyOf(ofA), 'base64');
    await hub.roster.pull(rosterOf('a', [entryOf(identityOf(ofA, hostname, key))]), true);
    expect((await row(ofA))?.hostname).toBe('web1.a');
  });

  test.each([
    ['the same page for ever', (after: number) => ({ anew: false, through: after, entries: [] })],
    ['a new beginning for ever', () => ({ anew: true, through: 5, entries: [entryOf(identityOf(STRANGER, 'x.a'))] })],
    ['empty pages for ever', (after: number) => ({ anew: false, through: after + 1, entries: [] })],
  ])('%s ends with an error', async (_name, page) => {
    const { hub } = await fleet();
    let asked = 0;
    const session = liar('a', [
      answers(rosterPull, async ({ after }) => {
        asked += 1;
        if (asked > 50) throw new Error('asked without end');
        return { epoch: 1, complete: false, ...page(after) };
      }),
    ]);
    await expect(hub.roster.pull(session)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });

  test.each([
    [
      'the name of another host',
      'IDENTITY_MISMATCH',
      (record: IdentityRecord) => ({ ...record, identity: { ...record.identity, hostname: 'db1.c' } }),
    ],
    [
      'the last sequence number there is',
      'INTERNAL',
      (record: IdentityRecord) => ({ ...record, volatile: { ...record.volatile, sequence: Number.MAX_SAFE_INTEGER } }),
    ],
  ])('handing out an envoy with %s moves nobody', async (_name, error, lie) => {
    const { hub, a, ofA } = await fleet();
    const real = a.answers.find(({ kind }) => kind.name === moveExport.name)!;
    const lying: Answer = {
      kind: real.kind,
      answer: async (...asked) => {
        const { body } = (await real.answer(...asked)) as { body: { record: IdentityRecord } };
        return { body: { record: lie(body.record) } };
      },
    };
    a.answers = a.answers.map((each) => (each === real ? lying : each));
    await hub.link(a);
    expect(await hub.mover.move({ envoyId: ofA, to: 'c', actor: SYSTEM })).toMatchObject({ phase: 'UNDONE', error });
  });
});

test('a site that is being emptied knows it, also after a restart without its hub, until the hub says otherwise', async () => {
  const { hub, a } = await fleet();
  expect(a.ownership.leaving).toBeUndefined();
  hub.setState('a', 'draining');
  await hub.mover.sequence.state(hub.session('a')!);
  expect(a.ownership.leaving).toBe('draining');
  await a.start();
  expect(a.ownership.leaving).toBe('draining');
  hub.setState('a', 'active');
  await hub.link(a);
  expect(a.ownership.leaving).toBeUndefined();
});

describe('an answer of nonsense to a question about the fleet', () => {
  const contract = route({
    name: 'envoys.list',
    summary: '',
    method: 'GET',
    path: '/envoys',
    permission: 'fleet.read',
    query: z.strictObject({ ...pageQuery, ...fleetQuery, sort: z.enum(['hostname']).optional() }),
    reply: pageOf(z.object({ id: z.string(), hostname: z.string(), spoke: z.string() })),
  });
  const answering = (id: string, body: unknown) =>
    liar(id, [answersWithData(query, async () => ({ body: { status: 200, headers: {} }, data: Buffer.from(JSON.stringify(body)) }))]);
  const good = (id: string, spoke = id) => ({
    items: [{ id: `${id}-1`, hostname: `${id}1`, spoke }],
    next_cursor: null,
    complete: true,
    spokes: [],
  });
  const ask = async (bodies: Readonly<Record<string, unknown>>) => {
    const asking = new Asking({
      sites: () => Object.entries(bodies).map(([id, body]) => ({ id, session: answering(id, body), heardAt: 1 })),
      deadlineMs: () => 500,
      maxBytes: 1_000_000,
      maxTotalBytes: 4_000_000,
      clock: systemClock,
    });
    const own = handler(contract, () => {
      throw new Error('the own handler of a hub is not called');
    });
    const [fanOut] = fanOutHandlers([own], { asking, own: 'hub', ownerOf: () => Promise.resolve(undefined), clock: systemClock });
    const principal = { kind: 'user', id: 'u', name: 'u', role: 'admin', permissions: permissionsOf('admin'), address: '' } as const;
    const input = {
      params: {},
      query: { limit: 100 },
      body: {},
      principal,
      address: '',
      requestId: 'r',
      signal: new AbortController().signal,
    };
    return (await fanOut!.handle({ ...input, status: () => undefined, header: () => undefined })) as z.output<typeof contract.reply>;
  };

  test.each([
    null,
    5,
    {},
    { items: null, next_cursor: null },
    { items: [null], next_cursor: null },
    { items: [{ id: {} }], next_cursor: 7 },
  ])('%j spoils the part of its site alone', async (body) => {
    const reply = await ask({ a: body, b: good('b') });
    expect(reply.items.map(({ id }) => id)).toEqual(['b-1']);
    expect([reply.complete, reply.spokes.find(({ id }) => id === 'a')?.error]).toEqual([false, expect.stringContaining('unknown shape')]);
  });

  test('a site speaks for itself alone', async () => {
    const { items } = await ask({ a: good('a', 'b'), b: good('b') });
    expect(items.map(({ id, spoke }) => [id, spoke])).toEqual([
      ['a-1', 'a'],
      ['b-1', 'b'],
    ]);
  });
});

describe('a forged number of commits', () => {
  test('that no copy explains is refused, and the hub goes on', async () => {
    const { hub, ofB, move } = await fleet();
    const session = liar('a', [
      answers(siteStateKind, async () => ({ hub_seq: Number.MAX_SAFE_INTEGER, owned: 0, pending: 0 })),
      answers(rosterPull, async () => ({ epoch: 1, anew: false, entries: [], through: 0, complete: true })),
    ]);
    await expect(hub.mover.sequence.meet(session)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    expect(hub.mover.sequence.behind).toBe(false);
    expect(await move(ofB, 'c')).toMatchObject({ phase: 'COMMITTED', ownerEpoch: 2 });
  });

  test('of a site whose roster cannot be read does not hold the hub for ever', async () => {
    const { hub, a, ofB, move } = await fleet();
    a.answers = a.answers.map((each) => {
      if (each.kind.name === siteStateKind.name) return answers(siteStateKind, async () => ({ hub_seq: 1_000, owned: 0, pending: 0 }));
      if (each.kind.name === rosterPull.name)
        return answers(rosterPull, async () => {
          throw new Error('no');
        });
      return each;
    });
    await hub.link(a);
    expect(hub.mover.sequence.behind).toBe(false);
    expect(hub.session('a')).toBeUndefined();
    expect(await move(ofB, 'c')).toMatchObject({ phase: 'COMMITTED' });
  });
});
