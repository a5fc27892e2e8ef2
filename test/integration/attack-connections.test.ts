/** Connections that want nothing but to be held: on both ports, each ends within the limits, and others are served meanwhile. */
import { readFileSync } from 'node:fs';
import { constants, connect as h2connect } from 'node:http2';
import { type Socket, connect as tcpConnect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { register } from '../../agent/enroll/register.ts';
import { systemClock } from '../../core/base/clock.ts';
import { httpsCall } from '../../core/crypto/https-client.ts';
import { makeSite, type Site } from '../harness/site.ts';
import { testUnless } from '../harness/where.ts';

const LIMIT_MS = 1_000;
const SLACK_MS = 3_000;
let site: Site;
let rootCa = '';
let tls: { cert: string; key: string };

beforeAll(async () => {
  site = await makeSite({
    hostname: 'localhost',
    settings: { server: { threads: 1 }, limits: { header_timeout: '1s', body_timeout: '1s' }, enrollment: { token_bcrypt_cost: 10 } },
  });
  await site.start();
  const { items } = await site.cliJson<{ items: { token: string }[] }>(['tokens', 'create', '--pattern', 'slow.example.com']);
  const configDir = join(site.dataDir, '..', 'envoy');
  await register({
    apiAddr: `https://localhost:${site.apiPort}`,
    token: items[0]!.token,
    caPin: undefined,
    hostname: 'slow.example.com',
    configDir,
    force: false,
    version: 'test',
    clock: systemClock,
    signal: new AbortController().signal,
    waitMs: 0,
    confirmPin: () => Promise.resolve(false),
    progress: () => {},
  });
  rootCa = readFileSync(join(configDir, 'ca-bundle.pem'), 'utf8');
  tls = { cert: readFileSync(join(configDir, 'tls.pem'), 'utf8'), key: readFileSync(join(configDir, 'tls.key'), 'utf8') };
}, 60_000);
afterAll(() => site.remove(), 30_000);

/** Milliseconds until the server ends it; undefined when it is still open after `most`. */
function endsAfter(socket: Socket, most: number): Promise<number | undefined> {
  const begun = performance.now();
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      socket.destroy();
      resolve(undefined);
    }, most);
    socket.on('error', () => {}); // a reset is an end as well
    socket.resume();
    const over = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(performance.now() - begun);
    };
    socket.once('end', over);
    socket.once('close', over);
  });
}

const tcp = (port: number) => tcpConnect(port, '127.0.0.1');
const secure = (port: number, more: object = {}) => tlsConnect({ port, host: '127.0.0.1', servername: 'localhost', ca: rootCa, ...more });
/** The first bytes of a ClientHello that announces 512. */
const HALF_HELLO = Buffer.from('1603010200010001fc0303', 'hex');
const PREFACE = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from('000000040000000000', 'hex')]);
/** HEADERS without END_HEADERS: the rest never comes. */
const HALF_HEADERS = Buffer.from('00000101000000000182', 'hex');

function dripping(socket: Socket, head: string, every = 200): Socket {
  socket.write(head);
  const timer = setInterval(() => socket.write('x'), every);
  socket.once('close', () => clearInterval(timer));
  return socket;
}

const grpc = (more: object = {}) => secure(site.grpcPort, { ...tls, ALPNProtocols: ['h2'], ...more });
const rest = () => secure(site.apiPort);
const cases: Record<string, () => Socket> = {
  'agents: nothing is said': () => tcp(site.grpcPort),
  'agents: half a ClientHello': () =>
    tcp(site.grpcPort)
      .setNoDelay()
      .on('connect', function (this: Socket) {
        this.write(HALF_HELLO);
      }),
  'agents: TLS, then silence': () => grpc(),
  'agents: the preface, then silence': () => {
    const socket = grpc();
    socket.write(PREFACE);
    return socket;
  },
  'agents: half a HEADERS frame': () => {
    const socket = grpc();
    socket.write(Buffer.concat([PREFACE, HALF_HEADERS]));
    return socket;
  },
  'REST: nothing is said': () => tcp(site.apiPort),
  'REST: half a ClientHello': () =>
    tcp(site.apiPort).on('connect', function (this: Socket) {
      this.write(HALF_HELLO);
    }),
  'REST: TLS, then silence': rest,
  'REST: half a request line': () => {
    const socket = rest();
    socket.write('GET /heal');
    return socket;
  },
  'REST: headers drop by drop': () => dripping(rest(), 'GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: '),
  'REST: a body drop by drop': () =>
    dripping(rest(), 'POST /api/v1/enroll HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n'),
};

describe('a slow connection ends', () => {
  test.concurrent.each(Object.keys(cases))(
    '%s',
    async (name) => {
      const took = await endsAfter(cases[name]!(), LIMIT_MS + SLACK_MS + 30_000);
      expect(took).toBeLessThan(LIMIT_MS + SLACK_MS);
    },
    60_000,
  );
});

/** The machine's own address that is not loopback, where it has one. */
const outer = Object.values(networkInterfaces())
  .flat()
  .find((one) => one !== undefined && !one.internal && one.family === 'IPv4')?.address;

async function healthzTakes(): Promise<number> {
  const begun = performance.now();
  const reply = await httpsCall({
    method: 'GET',
    url: new URL(`https://localhost:${site.apiPort}/healthz`),
    rootCa,
    timeoutMs: 10_000,
    maxBytes: 1000,
  });
  expect(reply.status).toBe(200);
  return performance.now() - begun;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('others are served', () => {
  test('beside five hundred half-open connections on each port', async () => {
    const held = [site.grpcPort, site.apiPort].flatMap((port) => Array.from({ length: 500 }, () => tcp(port).on('error', () => {})));
    await pause(300);
    expect(await healthzTakes()).toBeLessThan(2_000);
    for (const socket of held) socket.destroy();
  });

  test('beside an envoy that opens and resets streams', async () => {
    const session = h2connect(`https://localhost:${site.grpcPort}`, { ca: rootCa, ...tls });
    session.on('error', () => {});
    let refused = 0;
    for (let i = 0; i < 5_000 && !session.destroyed; i++) {
      const stream = session.request({ ':method': 'POST', ':path': '/vigo.v1.Agent/CheckIn', 'content-type': 'application/grpc' });
      stream.on('error', () => refused++);
      stream.close(constants.NGHTTP2_CANCEL);
      if (i % 500 === 0) await pause(5);
    }
    expect(await healthzTakes()).toBeLessThan(2_000);
    session.destroy();
    expect(await endsAfter(grpc(), LIMIT_MS + SLACK_MS)).toBeLessThan(LIMIT_MS + SLACK_MS);
  }, 30_000);

  test('and a header above the limit is refused without an answer of the program', async () => {
    const socket = rest();
    let said = '';
    socket.on('data', (part) => {
      said += part.toString();
    });
    socket.write(`GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-big: ${'x'.repeat(100_000)}\r\n\r\n`);
    expect(await endsAfter(socket, 5_000)).toBeLessThan(5_000);
    expect(said).toMatch(/^HTTP\/1.1 431 /);
  });
});

describe('requests that two readers could read in two ways', () => {
  test.each<[string, string]>([
    ['a length and chunks', 'POST /api/v1/enroll HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two lengths', 'POST /api/v1/enroll HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\n{}{}'],
    ['a blank before the colon', 'GET /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n'],
    ['a bare line feed', 'GET /healthz HTTP/1.1\nhost: a\nx: y\n\n'],
    ['no host', 'GET /healthz HTTP/1.1\r\n\r\n'],
  ])('%s: 400', async (_name, text) => {
    const socket = rest();
    let said = '';
    socket.on('data', (part) => {
      said += part.toString();
    });
    socket.write(text);
    await endsAfter(socket, 5_000);
    expect(said.split('\r\n')[0]).toMatch(/^HTTP\/1.1 400 /);
  });
});

testUnless(outer === undefined ? 'this machine has no address but loopback' : undefined)(
  'an address holds no more connections on the REST port than it may',
  async () => {
    const wide = await makeSite({
      hostname: 'localhost',
      listen: '0.0.0.0',
      settings: { server: { threads: 1 }, limits: { connections_per_ip: 5 } },
    });
    try {
      await wide.start();
      const held = Array.from({ length: 5 }, () => tcpConnect(wide.apiPort, outer).on('error', () => {}));
      await pause(500);
      expect(await endsAfter(tcpConnect(wide.apiPort, outer), 2_000)).toBeLessThan(1_000);
      for (const socket of held) socket.destroy();
      await pause(300);
      expect(await endsAfter(tcpConnect(wide.apiPort, outer), 1_000)).toBeUndefined();
    } finally {
      await wide.remove();
    }
  },
  60_000,
);
