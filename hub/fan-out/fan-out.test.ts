/** Asking the fleet: merged lists page by page, silent spokes, bounds, rights, and single things found at their owner. */
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { z } from 'zod';
import { PERMISSIONS } from '../../core/api/permissions.ts';
import { fleetQuery, idParams, pageOf, pageQuery, queryFlag, route } from '../../core/api/route.ts';
import { systemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { Principal } from '../../server/access/permissions.ts';
import { permissionsOf } from '../../server/access/roles.ts';
import { type Handler, type HandlerInput, handler } from '../../server/rest/handler.ts';
import { page, readCursor, writeCursor } from '../../server/rest/pages.ts';
import type { LinkSession } from '../../server/spanner/link.ts';
import { pairedSessions } from '../../server/spanner/paired.ts';
import { answerQueries } from '../../server/spanner/site/query.ts';
import { type AskedSite, Asking } from './ask.ts';
import { fanOutHandlers } from './handlers.ts';

jest.setTimeout(20_000);

interface Row {
  id: string;
  hostname: string;
  spoke: string;
}

const envoysList = route({
  name: 'envoys.list',
  summary: '',
  method: 'GET',
  path: '/envoys',
  permission: 'fleet.read',
  query: z.strictObject({
    ...pageQuery,
    ...fleetQuery,
    sort: z.enum(['hostname']).optional(),
    stale: queryFlag,
    release: z.coerce.number().optional(),
  }),
  reply: pageOf(z.object({ id: z.string(), hostname: z.string(), spoke: z.string() })),
});
const envoyGet = route({
  name: 'envoys.get',
  summary: '',
  method: 'GET',
  path: '/envoys/{id}',
  permission: 'fleet.read',
  params: idParams,
  reply: z.object({ id: z.string(), hostname: z.string(), spoke: z.string() }),
});
const tokenRevoke = route({
  name: 'tokens.revoke',
  summary: '',
  method: 'DELETE',
  path: '/tokens/{id}',
  permission: 'token.manage',
  params: idParams,
  reply: z.object({ id: z.string() }),
  needsMatch: true,
});
const reveal = route({
  name: 'secrets.reveal',
  summary: '',
  method: 'POST',
  path: '/x',
  permission: 'secrets.reveal',
  reply: z.object({ value: z.string() }),
});

class TestSite {
  readonly id: string;
  rows: Row[] = [];
  asked = 0;
  seen: HandlerInput<unknown, unknown, unknown>[] = [];
  delayMs = 0;
  fault: CodedError | undefined;
  session: LinkSession | undefined;

  constructor(id: string, names: readonly string[]) {
    this.id = id;
    this.rows = names.map((hostname) => ({ id: `${id}-${hostname}`, hostname, spoke: id }));
    const [toSite] = pairedSessions({ siteId: 'hub', answers: [] }, { siteId: id, answers: [answerQueries(this.#handlers())] });
    this.session = toSite;
  }

  #handlers(): readonly Handler[] {
    const before = async (input: HandlerInput<unknown, unknown, unknown>) => {
      this.asked++;
      this.seen.push(input);
      if (this.delayMs > 0) await systemClock.sleep(this.delayMs, input.signal);
      if (this.fault !== undefined) throw this.fault;
    };
    const find = (name: string) => {
      const row = this.rows.find(({ id, hostname }) => id === name || hostname === name);
      if (row === undefined) throw new CodedError('NOT_FOUND', `no ${name}`);
      return row;
    };
    return [
      handler(envoysList, async (input) => {
        await before(input as never);
        const { query } = input;
        const after = readCursor(`list ${this.id}`, query.cursor, 'string', Date.now());
        const sorted = [...this.rows]
          .sort((a, b) => (a.hostname < b.hostname ? -1 : 1))
          .filter(({ hostname }) => after === undefined || hostname > after);
        const items = sorted.slice(0, query.limit);
        return page(items, sorted.length > query.limit ? writeCursor(`list ${this.id}`, items.at(-1)!.hostname, Date.now()) : null);
      }),
      handler(envoyGet, async (input) => {
        await before(input as never);
        return find(input.params.id);
      }),
      handler(
        tokenRevoke,
        async (input) => {
          await before(input as never);
          return { id: find(input.params.id).id };
        },
        async ({ params }) => find(params.id),
      ),
      handler(reveal, () => ({ value: 'never' })),
    ];
  }
}

const principal = (role = 'admin'): Principal => ({
  kind: 'user',
  id: 'u1',
  name: 'alice',
  role,
  permissions: permissionsOf(role),
  address: '192.0.2.1',
});

function input(more: Partial<HandlerInput<unknown, unknown, unknown>> = {}): HandlerInput<unknown, unknown, unknown> {
  return {
    params: {},
    query: {},
    body: {},
    principal: principal(),
    address: '',
    requestId: 'r1',
    signal: new AbortController().signal,
    status: () => undefined,
    header: () => undefined,
    ...more,
  };
}

interface Listed {
  items: Row[];
  next_cursor: string | null;
  complete: boolean;
  spokes: { id: string; status: string; age_s: number | null; error?: string }[];
}

const owners = new Map<string, string>();
afterEach(() => owners.clear());

function fleet(sites: TestSite[], more: Partial<ConstructorParameters<typeof Asking>[0]> = {}) {
  const asking = new Asking({
    sites: () => sites.map(({ id, session }): AskedSite => ({ id, session, heardAt: Date.now() - 42_000 })),
    deadlineMs: () => 300,
    maxBytes: 1_000_000,
    maxTotalBytes: 4_000_000,
    clock: systemClock,
    ...more,
  });
  const own: readonly Handler[] = [envoysList, envoyGet, tokenRevoke, reveal].map((contract) => ({
    contract: contract as never,
    handle: () => {
      throw new Error('the own handler of a hub is not called');
    },
    ...(contract.needsMatch ? { current: async () => undefined } : {}),
  }));
  const handlers = fanOutHandlers(own, { asking, own: 'hub', ownerOf: (name) => Promise.resolve(owners.get(name)), clock: systemClock });
  const call = async <T>(name: string, more2: Partial<HandlerInput<unknown, unknown, unknown>> = {}): Promise<T> =>
    (await handlers.find(({ contract }) => contract.name === name)!.handle(input(more2))) as T;
  return {
    handlers,
    call,
    list: (query: object = {}, by = principal()) => call<Listed>('envoys.list', { query: { limit: 100, ...query }, principal: by }),
  };
}

const names = ({ items }: Listed) => items.map(({ hostname }) => hostname);

describe('a list of the fleet', () => {
  test('is merged by host name, page by page, without a hole or a double, whatever the size of a page', async () => {
    const all = Array.from({ length: 103 }, (_, i) => `h${String(i).padStart(3, '0')}`);
    const sites = ['dc1', 'eu1', 'hub'].map(
      (id, at) =>
        new TestSite(
          id,
          all.filter((_, i) => (i * i + (i >> 2)) % 3 === at),
        ),
    );
    for (const limit of [1, 7, 10, 50, 1000]) {
      const { list } = fleet(sites);
      const got: string[] = [];
      let cursor: string | null = null;
      do {
        const answer: Listed = await list({ limit, ...(cursor === null ? {} : { cursor }) });
        expect(answer.complete).toBe(true);
        expect(answer.spokes.map(({ id, status }) => [id, status])).toEqual(sites.map(({ id }) => [id, 'answered']));
        expect(answer.items.length).toBeLessThanOrEqual(limit);
        got.push(...names(answer));
        cursor = answer.next_cursor;
      } while (cursor !== null);
      expect(got).toEqual(all);
    }
  });

  test('keeps its place while rows come and go at the sites', async () => {
    const sites = [new TestSite('dc1', ['b', 'd', 'f', 'h']), new TestSite('eu1', ['c', 'e', 'g'])];
    const { list } = fleet(sites);
    const first = await list({ limit: 3 });
    expect(names(first)).toEqual(['b', 'c', 'd']);
    sites[0]!.rows.push({ id: 'dc1-a', hostname: 'a', spoke: 'dc1' });
    sites[1]!.rows = sites[1]!.rows.filter(({ hostname }) => hostname !== 'g');
    const rest = await list({ limit: 10, cursor: first.next_cursor! });
    expect(names(rest)).toEqual(['e', 'f', 'h']);
  });

  test('an envoy that is at two sites for a moment is shown once', async () => {
    const sites = [new TestSite('dc1', ['a', 'b']), new TestSite('eu1', ['c'])];
    sites[1]!.rows.push({ ...sites[0]!.rows[1]!, spoke: 'eu1' });
    expect(names(await fleet(sites).list())).toEqual(['a', 'b', 'c']);
  });

  test('filters and flags reach the sites, those of the hub do not', async () => {
    const site = new TestSite('dc1', ['a']);
    await fleet([site]).list({ stale: true, release: 7, spoke: 'dc1', require_complete: true });
    expect(site.seen[0]?.query).toEqual({ limit: 100, stale: true, release: 7, sort: 'hostname' });
    expect(site.seen[0]).toMatchObject({ requestId: 'r1', principal: { name: 'alice', role: 'admin', address: '192.0.2.1' } });
  });

  test('a cursor that was changed, of another list or of another life is refused', async () => {
    const { list } = fleet([new TestSite('dc1', ['a', 'b', 'c'])]);
    const { next_cursor: cursor } = await list({ limit: 1 });
    for (const bad of ['', 'x', `${cursor}x`, `x${cursor}`, cursor!.split('.')[0]!, 'a.b'])
      await expect(list({ limit: 1, cursor: bad })).rejects.toMatchObject({ code: 'CURSOR_EXPIRED' });
  });

  test('only the spoke that was named is asked', async () => {
    const sites = [new TestSite('dc1', ['a']), new TestSite('eu1', ['b'])];
    const { list } = fleet(sites);
    expect(await list({ spoke: 'eu1' })).toMatchObject({ items: [{ hostname: 'b' }], spokes: [{ id: 'eu1' }] });
    expect(sites[0]!.asked).toBe(0);
    await expect(list({ spoke: 'xx' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('equal questions at one time, and within a second, are asked once; of people with other rights they are not', async () => {
    const site = new TestSite('dc1', ['a']);
    const { list } = fleet([site]);
    await Promise.all([list(), list(), list()]);
    await list();
    expect(site.asked).toBe(1);
    await list({ limit: 5 });
    await list({}, principal('viewer'));
    expect(site.asked).toBe(3);
  });
});

describe('a spoke that does not answer', () => {
  const trio = () => [new TestSite('dc1', ['a', 'd']), new TestSite('eu1', ['b']), new TestSite('ap1', ['c'])] as const;

  test('is named as offline at once, with its age; the rest is there', async () => {
    const [dc1, eu1, ap1] = trio();
    eu1.session!.close('cut');
    const begun = performance.now();
    const answer = await fleet([dc1, eu1, ap1]).list();
    expect(performance.now() - begun).toBeLessThan(200);
    expect(answer).toMatchObject({
      complete: false,
      spokes: [
        { id: 'dc1', status: 'answered', age_s: 0 },
        { id: 'eu1', status: 'offline', age_s: 42 },
        { id: 'ap1', status: 'answered' },
      ],
    });
    expect(names(answer)).toEqual(['a', 'c', 'd']);
  });

  test('costs its own deadline and no more', async () => {
    const [dc1, eu1, ap1] = trio();
    eu1.delayMs = 5_000;
    ap1.delayMs = 5_000;
    const begun = performance.now();
    const answer = await fleet([dc1, eu1, ap1]).list();
    expect(performance.now() - begun).toBeLessThan(900);
    expect(answer.spokes.map(({ status }) => status)).toEqual(['answered', 'timed_out', 'timed_out']);
  });

  test('makes the answer an error where completeness was required', async () => {
    const [dc1, eu1, ap1] = trio();
    eu1.session!.close('cut');
    await expect(fleet([dc1, eu1, ap1]).list({ require_complete: true })).rejects.toMatchObject({
      code: 'INCOMPLETE',
      message: '1 of 3 spokes did not answer: eu1',
      details: { spokes: [{ id: 'dc1' }, { id: 'eu1', status: 'offline' }, { id: 'ap1' }] },
    });
  });

  test('in the middle of a listing is left out of the rest of it, and every page says so', async () => {
    const [dc1, eu1, ap1] = trio();
    const { list } = fleet([dc1, eu1, ap1]);
    const first = await list({ limit: 1 });
    eu1.session!.close('cut');
    const second = await list({ limit: 1, cursor: first.next_cursor! });
    expect([names(second), second.complete]).toEqual([['c'], false]);
    const third = await list({ limit: 9, cursor: second.next_cursor! });
    expect([names(third), third.complete, third.spokes[1]?.status, third.next_cursor]).toEqual([['d'], false, 'offline', null]);
  });

  test('what one refuses is said of it; what all refuse is the answer', async () => {
    const [dc1, eu1, ap1] = trio();
    eu1.fault = new CodedError('STORE_UNAVAILABLE', 'locked');
    const answer = await fleet([dc1, eu1, ap1]).list();
    expect(answer).toMatchObject({ complete: false, spokes: [{}, { status: 'answered', error: 'locked [STORE_UNAVAILABLE]' }, {}] });
    for (const site of [dc1, eu1, ap1]) site.fault = new CodedError('TARGET_SYNTAX', 'bad');
    await expect(fleet([dc1, eu1, ap1]).list()).rejects.toMatchObject({ code: 'TARGET_SYNTAX' });
  });

  test('and one that answers too much is cut off by its own server and by the hub', async () => {
    const sites = [
      new TestSite('dc1', ['a']),
      new TestSite(
        'eu1',
        Array.from({ length: 500 }, (_, i) => `host-${i}`),
      ),
    ];
    const answer = await fleet(sites, { maxBytes: 5_000 }).list({ limit: 1000 });
    expect(answer).toMatchObject({
      complete: false,
      items: [{ hostname: 'a' }],
      spokes: [{}, { error: expect.stringContaining('TOO_LARGE') }],
    });
    const total = await fleet(sites, { maxTotalBytes: 5_000 }).list({ limit: 1000 });
    expect(total).toMatchObject({ complete: false, spokes: [{}, { error: expect.stringContaining('TOO_LARGE') }] });
  });
});

describe('one thing', () => {
  test('is asked of its owner alone, and searched for where nobody knows the owner', async () => {
    const sites = [new TestSite('dc1', ['a']), new TestSite('eu1', ['b'])];
    const { call } = fleet(sites);
    owners.set('b', 'eu1');
    expect(await call('envoys.get', { params: { id: 'b' } })).toMatchObject({ spoke: 'eu1' });
    expect(sites.map(({ asked }) => asked)).toEqual([0, 1]);
    expect(await call('envoys.get', { params: { id: 'a' } })).toMatchObject({ spoke: 'dc1' });
    // the roster lags: the envoy has moved
    owners.set('a', 'eu1');
    expect(await call('envoys.get', { params: { id: 'a' } })).toMatchObject({ spoke: 'dc1' });
    await expect(call('envoys.get', { params: { id: 'zz' } })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('of an owner that is away is not "not found"', async () => {
    const sites = [new TestSite('dc1', ['a']), new TestSite('eu1', ['b'])];
    const { call } = fleet(sites);
    sites[1]!.session!.close('cut');
    owners.set('b', 'eu1');
    await expect(call('envoys.get', { params: { id: 'b' } })).rejects.toMatchObject({
      code: 'SPOKE_UNAVAILABLE',
      details: { spoke: 'eu1' },
    });
    owners.clear();
    await expect(call('envoys.get', { params: { id: 'b' } })).rejects.toMatchObject({
      code: 'SPOKE_UNAVAILABLE',
      message: expect.stringContaining('eu1'),
    });
    expect(await call('envoys.get', { params: { id: 'a' } })).toMatchObject({ spoke: 'dc1' });
  });

  test('that two spokes know is ambiguous', async () => {
    const { call } = fleet([new TestSite('dc1', ['a']), new TestSite('eu1', ['a'])]);
    await expect(call('envoys.get', { params: { id: 'a' } })).rejects.toMatchObject({ code: 'AMBIGUOUS_NAME' });
  });

  test('has what If-Match is compared with, from where it is', async () => {
    const { handlers } = fleet([new TestSite('dc1', ['a']), new TestSite('eu1', ['b'])]);
    const revoke = handlers.find(({ contract }) => contract.name === 'tokens.revoke')!;
    expect(await revoke.current!(input({ params: { id: 'b' } }))).toMatchObject({ spoke: 'eu1' });
  });
});

describe('rights', () => {
  test('are looked at again by the site, and never exceed the role', async () => {
    const site = new TestSite('dc1', ['a']);
    const { call } = fleet([site]);
    const viewer = principal('viewer');
    await expect(call('tokens.revoke', { params: { id: 'a' }, principal: viewer })).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    // a hub that claims more than the role has
    await expect(
      call('tokens.revoke', { params: { id: 'a' }, principal: { ...viewer, permissions: new Set(PERMISSIONS) } }),
    ).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    // a token with fewer scopes than its user
    await expect(call('envoys.get', { params: { id: 'a' }, principal: { ...principal(), permissions: new Set() } })).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    expect(site.asked).toBe(0);
  });

  test('no other route is reached over a link, a secret least of all', async () => {
    const site = new TestSite('dc1', ['a']);
    const asking = new Asking({ sites: () => [], deadlineMs: () => 300, maxBytes: 1000, maxTotalBytes: 1000, clock: systemClock });
    await expect(asking.one({ id: 'dc1', session: site.session, heardAt: 0 }, reveal as never, input())).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
    });
    expect(fleet([site]).handlers.map(({ contract }) => contract.name)).toEqual(['envoys.list', 'envoys.get', 'tokens.revoke']);
  });
});
