/** Links over real sockets: who is let in, what crosses, and what happens when a link dies, half or whole. */
import { X509Certificate } from 'node:crypto';
import { createServer, type Server, type Socket, connect as tcpConnect } from 'node:net';
import { Server as GrpcServer, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { systemClock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/errors.ts';
import { codecs, LINK_METHOD } from '../proto/load.ts';
import { revokeSerial } from '../server/identity/sign-spoke.ts';
import type { FrameChannel } from '../server/spanner/channel.ts';
import { sayHello } from '../server/spanner/hello.ts';
import { type Answer, answers, answersWithData, kind, type LinkSession } from '../server/spanner/link.ts';
import { partyOf } from '../server/spanner/party.ts';
import { GrpcChannel } from '../spoke/grpc-channel.ts';
import type { HubLink } from '../spoke/hub-link.ts';
import { eventually } from '../test/harness/eventually.ts';
import { dialler, joinedSpoke, makeHub, type SpokeKeys, type TestHub } from '../test/harness/linked-sites.ts';

const HEARTBEAT_MS = 500;
const echo = kind(
  'test.echo',
  z.object({ text: z.string(), wait_ms: z.number().default(0) }),
  z.object({ text: z.string(), from: z.string() }),
);
const fail = kind('test.fail', z.object({}), z.object({}));
const bulk = kind('test.bulk', z.object({ bytes: z.number() }), z.object({ sum: z.number() }));
const unknown = kind('test.unknown', z.object({}), z.object({}));
const wrong = kind('test.wrong', z.object({}), z.object({ text: z.string() }));
let aborted = 0;
const ANSWERS: readonly Answer[] = [
  answers(echo, async ({ text, wait_ms: waitMs }, { from, signal }) => {
    if (waitMs > 0) await systemClock.sleep(waitMs, signal);
    if (signal.aborted) aborted += 1;
    return { text, from };
  }),
  answers(fail, async () => {
    throw new CodedError('MOVE_CONFLICT', 'it is moving', { hint: 'wait', retryAfterSeconds: 7, details: { moves: [1, 2] } });
  }),
  answersWithData(bulk, async ({ bytes }) => {
    const data = Buffer.alloc(bytes, 0);
    for (let i = 0; i < bytes; i += 4096) data[i] = (i / 4096) % 251;
    return { body: { sum: bytes }, data };
  }),
  { kind: kind('test.wrong', z.object({}), z.any()), answer: async () => ({ body: { text: 5 } }) },
];

let hub: TestHub;
const spokes = new Map<string, SpokeKeys>();
const open: HubLink[] = [];

beforeAll(async () => {
  hub = await makeHub(ANSWERS, HEARTBEAT_MS);
  for (const id of ['a', 'b', 'c', 'd', 'e', 'x']) spokes.set(id, await joinedSpoke(hub, id));
}, 60_000);
afterAll(async () => {
  for (const link of open) await link.stop();
  await hub.close();
}, 30_000);

function start(id: string, more: Parameters<typeof dialler>[2] = {}, address = hub.address): HubLink {
  const link = dialler(address, spokes.get(id)!, { answers: ANSWERS, ...more }, HEARTBEAT_MS);
  open.push(link);
  link.start();
  return link;
}

/** Both ends of a fresh link. */
async function linked(id: string, address?: string): Promise<{ link: HubLink; up: LinkSession; down: LinkSession }> {
  const link = start(id, {}, address);
  const down = await eventually(() => link.session);
  const up = await eventually(() => {
    const session = hub.sites.session(id);
    if (session === undefined) throw new Error('no session yet');
    return session;
  });
  return { link, up, down };
}

const code = (code: string) => expect.objectContaining({ code }) as unknown;

describe('what crosses a link', () => {
  let up: LinkSession;
  let down: LinkSession;
  beforeAll(async () => {
    ({ up, down } = await linked('a'));
  });

  test('both ends ask, and know who asks', async () => {
    expect(await up.request(echo, { text: 'down' })).toEqual({ text: 'down', from: 'hub' });
    expect(await down.request(echo, { text: 'ünï ✓' })).toEqual({ text: 'ünï ✓', from: 'a' });
  });

  test('hundreds at once are each answered with their own, within the limit of a link', async () => {
    const texts = Array.from({ length: 60 }, (_, index) => `t${index}`);
    const replies = await Promise.all(texts.map((text, index) => up.request(echo, { text, wait_ms: index % 7 })));
    expect(replies.map(({ text }) => text)).toEqual(texts);
    const many = await Promise.allSettled(Array.from({ length: 300 }, () => up.request(echo, { text: 'x', wait_ms: 50 })));
    const refused = many.filter((each) => each.status === 'rejected').map((each) => (each.reason as CodedError).code);
    expect(new Set(refused)).toEqual(new Set(['OVERLOADED']));
    expect(many.length - refused.length).toBeGreaterThanOrEqual(64);
  });

  test('an error arrives with code, hint, patience and details', async () => {
    await expect(up.request(fail, {})).rejects.toMatchObject({
      code: 'MOVE_CONFLICT',
      message: 'it is moving',
      hint: 'wait',
      retryAfterSeconds: 7,
      details: { moves: [1, 2] },
    });
  });

  test.each([
    ['a kind that nobody answers', () => up.request(unknown, {}), 'UNIMPLEMENTED'],
    ['a request of another shape', () => up.request(kind('test.echo', z.any(), z.any()), { text: 1 }), 'BAD_REQUEST'],
    ['an answer of another shape', () => up.request(wrong, {}), 'INTERNAL'],
    ['a deadline', () => up.request(echo, { text: '', wait_ms: 2_000 }, { deadlineMs: 50 }), 'DEADLINE'],
    ['a request above the limit', () => up.request(echo, { text: 'x'.repeat(9 * 1024 * 1024) }), 'TOO_LARGE'],
    ['an answer above the limit', () => up.requestData(bulk, { bytes: 65 * 1024 * 1024 }), 'TOO_LARGE'],
  ])('%s', async (_name, ask, expected) => {
    await expect(ask()).rejects.toEqual(code(expected));
  });

  test('who gives up ends the work at the other end', async () => {
    const before = aborted;
    const control = new AbortController();
    const asked = up.request(echo, { text: '', wait_ms: 20_000 }, { signal: control.signal });
    setTimeout(() => control.abort(new CodedError('DEADLINE', 'enough')), 50);
    await expect(asked).rejects.toEqual(code('DEADLINE'));
    await eventually(() => expect(aborted).toBeGreaterThan(before));
  });

  test('many pieces arrive whole, while small words pass between them', async () => {
    const size = 12 * 1024 * 1024 + 17;
    const large = up.requestData(bulk, { bytes: size });
    const small = await up.request(echo, { text: 'between' });
    const { body, data } = await large;
    expect([small.text, body.sum, data?.length]).toEqual(['between', size, size]);
    for (let i = 0; i < size; i += 4096) if (data![i] !== (i / 4096) % 251) throw new Error(`byte ${i} differs`);
    expect(up.traffic.received).toBeGreaterThan(size);
  });

  test('heartbeats bring figures, the time a word takes, and the distance of the clocks', async () => {
    await eventually(() => {
      const { link } = hub.sites.get('a')!;
      expect([link.heartbeat, link.session?.rttMs, Math.abs(link.clockOffsetMs ?? 1e9)]).toEqual([
        { envoys: 0 },
        expect.any(Number),
        expect.any(Number),
      ]);
      expect(Math.abs(link.clockOffsetMs!)).toBeLessThan(1_000);
    });
  });
});

describe('the end of a link', () => {
  test('a newer link of a site takes the place of the older one', async () => {
    const { up } = await linked('b');
    const second = start('b');
    await eventually(() => {
      expect(up.isOpen).toBe(false);
      expect(second.session.isOpen).toBe(true);
    });
    await open.find((link) => link !== second && link.status.address === hub.address)?.stop();
  });

  test('requests under way fail, and the link comes back by itself', async () => {
    const { up, link } = await linked('c');
    const asked = up.request(echo, { text: '', wait_ms: 30_000 });
    const first = link.session;
    setTimeout(() => up.close('for the test'), 50);
    await expect(asked).rejects.toEqual(code('SPOKE_UNAVAILABLE'));
    await eventually(() => expect(link.session !== first && link.session.isOpen).toBe(true));
    await expect(up.request(echo, { text: '' })).rejects.toEqual(code('SPOKE_UNAVAILABLE'));
    await link.stop();
  });

  describe.each(['both', 'to the spoke', 'to the hub'] as const)('half open: %s is lost', (lost) => {
    let proxy: Proxy;
    beforeAll(async () => {
      proxy = await makeProxy(hub.site.server.rpcPort);
    });
    afterAll(() => proxy.close());

    test('both ends notice within a few intervals', async () => {
      const { link, up, down } = await linked('d', `localhost:${proxy.port}`);
      expect(await up.request(echo, { text: 'x' })).toMatchObject({ text: 'x' });
      const begun = performance.now();
      proxy.drop(lost);
      const ended = (session: LinkSession) => new Promise<number>((resolve) => session.onClose(() => resolve(performance.now() - begun)));
      const times = await Promise.all([ended(up), ended(down)]);
      // the side that still hears only its own questions, or nothing at all, judges after three silent intervals; the timer itself may be one late
      expect(Math.max(...times)).toBeLessThan(HEARTBEAT_MS * 8);
      proxy.drop('nothing');
      await eventually(() => expect(link.session.isOpen).toBe(true));
      await link.stop();
    });
  });
});

describe('who is not let in', () => {
  const greet = (channel: GrpcChannel, keys: SpokeKeys, hubSite = 'hub') =>
    sayHello(channel, partyOf(keys), () => ({ hubCertificate: channel.hubCertificate, spokeCertificate: fingerprint(keys) }), {
      clock: systemClock,
      hubSite,
      facts: {},
    });
  const channelOf = (keys: SpokeKeys, address = hub.address) => new GrpcChannel(address, keys.identity.rootCa, keys.identity.tls);
  const greeting = (keys: SpokeKeys) => greet(channelOf(keys), keys);

  test('an hello that was heard before', async () => {
    const keys = spokes.get('e')!;
    const heard: Uint8Array[] = [];
    const channel = channelOf(keys);
    const send = channel.send.bind(channel);
    channel.send = (frame) => {
      heard.push(frame);
      return send(frame);
    };
    await greet(channel, keys);
    channel.close();
    const replay = channelOf(keys);
    const word = await firstWords(replay, heard[0]!);
    expect(word).toEqual(['.challenge', '.refused REPLAYED']);
  });

  test('the hello of a spoke over the connection of another', async () => {
    const [keys, other] = [spokes.get('e')!, spokes.get('x')!];
    const channel = channelOf(other);
    await expect(greet(channel, keys)).rejects.toMatchObject({ code: 'IDENTITY_MISMATCH', details: { refused_by: 'hub' } });
  });

  test('a server in between that has a certificate of the fleet', async () => {
    const [keys, middle] = [spokes.get('e')!, spokes.get('x')!];
    const relay = await makeRelay(middle, hub.address);
    try {
      await expect(greet(channelOf(keys, `localhost:${relay.port}`), keys)).rejects.toMatchObject({ code: 'IDENTITY_MISMATCH' });
    } finally {
      relay.close();
    }
  });

  test('a hub that is not the one that was joined', async () => {
    const keys = spokes.get('e')!;
    await expect(greet(channelOf(keys), keys, 'another')).rejects.toEqual(code('IDENTITY_MISMATCH'));
  });

  test('a spoke that the hub does not list any more, or another server in its place', async () => {
    const keys = spokes.get('e')!;
    const { serverKey } = hub.sites.get('e')!;
    await hub.sites.change('e', { state: 'removed' });
    await expect(greeting(keys)).rejects.toEqual(code('REVOKED'));
    await hub.sites.change('e', { state: 'active', serverKey: spokes.get('x')!.identity.keyId });
    await expect(greeting(keys)).rejects.toEqual(code('REVOKED'));
    await hub.sites.change('e', { serverKey });
    await expect(greeting(keys)).resolves.toMatchObject({ siteId: 'hub' });
  });

  test('a server whose delegation is revoked, and it is told so', async () => {
    const keys = spokes.get('x')!;
    const { serial } = JSON.parse(keys.identity.delegation.record) as { serial: string };
    const told: string[] = [];
    hub.parts.revocations.add([revokeSerial(hub.parts.paths, hub.parts.identity.fleetId, serial, Date.now())]);
    start('x', { revoked: (reason) => told.push(reason) });
    await eventually(() => expect(told[0]).toContain('revoked'));
    expect(hub.sites.session('x')).toBeUndefined();
  });

  test('more greetings of one host than a host has use for', async () => {
    const silent = Array.from({ length: 12 }, () => channelOf(spokes.get('e')!));
    const failures = await Promise.all(
      silent.map(
        (channel) =>
          new Promise<string>((resolve) => {
            channel.onFrame(() => resolve('challenged'));
            channel.onClose(() => resolve(channel.failure?.code ?? 'closed'));
          }),
      ),
    );
    for (const channel of silent) channel.close();
    expect(failures.filter((each) => each === 'challenged')).toHaveLength(8);
    expect(failures.filter((each) => each === 'OVERLOADED')).toHaveLength(4);
    // those that went away are forgotten
    await eventually(() => expect(greeting(spokes.get('e')!)).resolves.toMatchObject({ siteId: 'hub' }));
  });

  test('agents on the link, and servers among the agents', async () => {
    const envoy = await hub.site.enroll('web1.example.com');
    const channel = new GrpcChannel(hub.address, envoy.identity.caBundle, envoy.identity.tls);
    const reason = await new Promise((resolve) => channel.onClose(resolve));
    expect([reason, channel.failure?.code]).toEqual([expect.stringContaining('not of a server'), 'CERTIFICATE_INVALID']);
    const server = hub.site.connect(spokes.get('a')!.identity.tls, envoy.identity.caBundle);
    const bytes = hub.site.checkInBytes(envoy, hub.site.header(envoy, 10));
    const reply = await hub.site.raw(envoy, bytes, { session: server });
    server.destroy();
    expect(reply.code).toBe('CERTIFICATE_INVALID');
  });

  test('a server that is no hub says so', async () => {
    hub.links.stop();
    const channel = channelOf(spokes.get('a')!);
    await new Promise((resolve) => channel.onClose(resolve));
    expect(channel.failure?.code).toBe('UNIMPLEMENTED');
  });
});

// ---- what stands in between -----------------------------------------------------------------------------------------
function fingerprint({ identity }: SpokeKeys): string {
  return new X509Certificate(identity.tls.certificateChain).fingerprint256;
}

/** Plays `frame` after the challenge; answers the kinds heard, with the code of a refusal. */
async function firstWords(channel: FrameChannel, frame: Uint8Array): Promise<string[]> {
  const words: string[] = [];
  return await new Promise((resolve) => {
    channel.onFrame((bytes) => {
      const heard = codecs.linkFrame.decode(bytes);
      const { record } = JSON.parse(Buffer.from(heard.body).toString()) as { record?: string };
      const refused = record === undefined ? {} : (JSON.parse(record) as { code?: string });
      words.push(`${heard.kind}${refused.code === undefined ? '' : ` ${refused.code}`}`);
      if (words.length === 1) void channel.send(frame);
      if (words.length === 2) resolve(words);
    });
    channel.onClose(() => resolve(words));
  });
}

interface Proxy {
  readonly port: number;
  drop(lost: 'nothing' | 'both' | 'to the spoke' | 'to the hub'): void;
  close(): void;
}

/** Forwards bytes, and can swallow those of a direction without closing anything. */
async function makeProxy(port: number): Promise<Proxy> {
  let lost = 'nothing';
  const sockets = new Set<Socket>();
  const server: Server = createServer((near) => {
    const far = tcpConnect(port, '127.0.0.1');
    const dead = { up: false, down: false };
    const check = () => {
      if (lost === 'both' || lost === 'to the hub') dead.up = true;
      if (lost === 'both' || lost === 'to the spoke') dead.down = true;
    };
    near.on('data', (data) => {
      check();
      if (!dead.up) far.write(data);
    });
    far.on('data', (data) => {
      check();
      if (!dead.down) near.write(data);
    });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      // an end is a word too: it is swallowed like the others
      one.on('close', () => (lost === 'nothing' ? other.destroy() : undefined));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    drop: (what) => {
      lost = what;
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** A server of the fleet that ends TLS itself and passes every frame on. */
async function makeRelay({ identity }: SpokeKeys, to: string): Promise<{ port: number; close(): void }> {
  const raw = (bytes: Buffer) => bytes;
  const server = new GrpcServer();
  server.addService(
    {
      link: {
        path: LINK_METHOD,
        requestStream: true,
        responseStream: true,
        requestSerialize: raw,
        requestDeserialize: raw,
        responseSerialize: raw,
        responseDeserialize: raw,
      },
    },
    {
      link: (call: ServerDuplexStream<Buffer, Buffer>) => {
        const onward = new GrpcChannel(to, identity.rootCa, identity.tls);
        call.on('data', (frame: Buffer) => void onward.send(frame));
        onward.onFrame((frame) => void call.write(Buffer.from(frame)));
        onward.onClose(() => call.end());
        call.on('error', () => onward.close());
      },
    },
  );
  const { certificateChain, privateKey } = identity.tls;
  const credentials = ServerCredentials.createSsl(
    Buffer.from(identity.rootCa),
    [{ cert_chain: Buffer.from(certificateChain), private_key: Buffer.from(privateKey) }],
    true,
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error))),
  );
  return { port, close: () => server.forceShutdown() };
}
