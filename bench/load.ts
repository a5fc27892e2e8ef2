/** The load generator: speaks the agent's real protocol over HTTP/2 and mutual TLS, in three connection modes. */
import { createHash } from 'node:crypto';
import { type ClientHttp2Session, connect } from 'node:http2';
import { idBytes } from '../core/base/ids.ts';
import { signFor } from '../core/crypto/domain.ts';
import { AGENT_METHODS, codecs } from '../proto/load.ts';
import { serve } from './child.ts';
import { type BenchEnvoy, readSite } from './site.ts';

export interface LoadOrder {
  readonly port: number;
  readonly mode: 'kept' | 'resumed' | 'fresh';
  readonly path: 'check-in' | 'echo';
  /** first envoy and how many are used, one connection each */
  readonly from: number;
  readonly envoys: number;
  readonly seconds: number;
  /** stop after this many requests an envoy */
  readonly rounds?: number;
  /** requests a second in all; 0 = as fast as it goes */
  readonly rate: number;
}

/** Every envoy comes once a pass on a connection of its own, `at` of them at a time. */
export interface SweepOrder {
  readonly port: number;
  readonly from: number;
  readonly envoys: number;
  readonly passes: number;
  readonly at: number;
}

export interface LoadReply {
  readonly requests: number;
  readonly noChange: number;
  readonly failed: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly replyBytes: number;
  readonly requestBytes: number;
}

const site = readSite(process.argv[2]!);
const EMPTY = Buffer.alloc(0);

interface Held {
  release: number;
  policyHash: Uint8Array;
  headerHash: Uint8Array;
  seq: number;
  directive: Uint8Array;
  keyIds: string[];
}

/** An echo is asked with as many bytes as a check-in that holds a policy. */
function assumed(): Held {
  const hash = Buffer.alloc(32, 1);
  return { release: 1, policyHash: hash, headerHash: hash, seq: Date.now(), directive: hash, keyIds: ['0'.repeat(16)] };
}

class Envoy {
  readonly #envoy: BenchEnvoy;
  readonly #order: Pick<LoadOrder, 'port' | 'mode' | 'path'>;
  readonly #secretKey: Buffer;
  #session: ClientHttp2Session | undefined;
  #ticket: Buffer | undefined;
  #sequence = Date.now();
  #held: Held = { release: 0, policyHash: EMPTY, headerHash: EMPTY, seq: 0, directive: EMPTY, keyIds: [] };
  replyBytes = 0;
  requestBytes = 0;

  constructor(envoy: BenchEnvoy, order: Pick<LoadOrder, 'port' | 'mode' | 'path'>) {
    this.#envoy = envoy;
    this.#order = order;
    this.#secretKey = Buffer.from(envoy.secretKey, 'hex');
    if (order.path === 'echo') this.#held = assumed();
  }

  #connected(): ClientHttp2Session {
    if (this.#session !== undefined && !this.#session.closed) return this.#session;
    const ticket = this.#order.mode === 'resumed' ? this.#ticket : undefined;
    const session = connect(`https://localhost:${this.#order.port}`, {
      ca: site.rootCa,
      cert: this.#envoy.certificate,
      key: this.#envoy.privateKey,
      minVersion: 'TLSv1.3',
      ...(ticket === undefined ? {} : { session: ticket }),
    });
    session.on('error', () => session.destroy());
    session.socket.on('session', (fresh: Buffer) => {
      this.#ticket = fresh;
    });
    this.#session = session;
    return session;
  }

  #request(): Buffer {
    const held = this.#held;
    this.#sequence += 1;
    const payload = codecs.checkInRequest.encode({
      header: {
        fleet_id: idBytes(site.fleetId),
        envoy_id: idBytes(this.#envoy.id),
        audience: site.siteId,
        highest_epoch: 1,
        owner_epoch: 1,
        sequence: this.#sequence,
        sent_at_ms: Date.now(),
      },
      protocol: 1,
      release: held.release,
      body_schema: held.release === 0 ? 0 : 1,
      policy_hash: held.policyHash,
      held_header_hash: held.headerHash,
      held_seq: held.seq,
      directive_hash: held.directive,
      known_keys: held.keyIds,
      agent_version: '0',
      mode: 'enforce',
    });
    return codecs.signedRequest.encode({ payload, signature: signFor('checkIn', { secretKey: this.#secretKey }, payload) });
  }

  /** True when the answer was `no_change`. */
  async once(): Promise<boolean> {
    const message = this.#request();
    const frame = Buffer.allocUnsafe(message.length + 5);
    frame[0] = 0;
    frame.writeUInt32BE(message.length, 1);
    message.copy(frame, 5);
    this.requestBytes = message.length;
    const session = this.#connected();
    const reply = await new Promise<Buffer>((resolve, reject) => {
      const stream = session.request({
        ':method': 'POST',
        ':path': this.#order.path === 'echo' ? '/bench/Echo' : AGENT_METHODS.checkIn,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      const parts: Buffer[] = [];
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.once('error', reject);
      stream.once('end', () => resolve(Buffer.concat(parts)));
      stream.end(frame);
    });
    if (this.#order.mode !== 'kept') await this.#close();
    if (reply.length < 5) throw new Error('refused');
    this.replyBytes = reply.length - 5;
    if (this.#order.path === 'echo' || reply[5] === 0x0a) return true;
    this.#learn(codecs.checkInReply.decode(reply.subarray(5)));
    return false;
  }

  #learn(reply: ReturnType<typeof codecs.checkInReply.decode>): void {
    if (reply.signed === undefined) return;
    const answer = codecs.signedAnswer.decode(reply.signed.payload);
    const header = JSON.parse(Buffer.from(answer.header!.record).toString('utf8')) as { release: number; policy_hash: string; seq: number };
    const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
    this.#held = {
      release: header.release,
      policyHash: Buffer.from(header.policy_hash, 'hex'),
      headerHash: sha256(answer.header!.record),
      seq: header.seq,
      directive: sha256(answer.authority),
      keyIds: [reply.signed.key_id],
    };
  }

  async #close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    if (session === undefined) return;
    await new Promise<void>((resolve) => session.close(resolve));
  }

  close(): Promise<void> {
    return this.#close();
  }
}

const pool = new Map<string, Envoy[]>();

async function run(order: LoadOrder): Promise<LoadReply> {
  const name = `${order.port}/${order.mode}/${order.path}/${order.from}`;
  const envoys = pool.get(name) ?? site.envoys.slice(order.from, order.from + order.envoys).map((envoy) => new Envoy(envoy, order));
  pool.set(name, envoys);
  // first contact: bundle, then everything is `no_change`
  if (order.path === 'check-in') for (const envoy of envoys) await envoy.once();
  const latencies: number[] = [];
  let noChange = 0;
  let failed = 0;
  const begun = performance.now();
  const end = begun + order.seconds * 1000;
  const pause = order.rate === 0 ? 0 : (envoys.length / order.rate) * 1000;
  await Promise.all(
    envoys.map(async (envoy, index) => {
      let next = begun + (pause * index) / envoys.length;
      for (let round = 0; performance.now() < end && round < (order.rounds ?? Number.POSITIVE_INFINITY); round++) {
        const wait = next - performance.now();
        if (pause > 0 && wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
        const sent = pause > 0 ? Math.max(next, performance.now() - 1000) : performance.now();
        next += pause;
        try {
          if (await envoy.once()) noChange++;
        } catch {
          failed++;
        }
        latencies.push(performance.now() - sent);
      }
    }),
  );
  const seconds = (performance.now() - begun) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  if (order.mode !== 'kept') await Promise.all(envoys.map((envoy) => envoy.close()));
  return {
    requests: latencies.length,
    noChange,
    failed,
    seconds,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    replyBytes: envoys[0]?.replyBytes ?? 0,
    requestBytes: envoys[0]?.requestBytes ?? 0,
  };
}

async function sweep(order: SweepOrder): Promise<{ readonly requests: number; readonly failed: number }> {
  const envoys = site.envoys
    .slice(order.from, order.from + order.envoys)
    .map((envoy) => new Envoy(envoy, { port: order.port, mode: 'resumed', path: 'check-in' }));
  let failed = 0;
  for (let pass = 0; pass < order.passes; pass++) {
    let next = 0;
    const lane = async () => {
      for (let envoy = envoys[next++]; envoy !== undefined; envoy = envoys[next++]) {
        await envoy.once().catch(() => {
          failed++;
        });
      }
    };
    await Promise.all(Array.from({ length: order.at }, lane));
  }
  return { requests: envoys.length * order.passes, failed };
}

serve((question) => ('passes' in (question as object) ? sweep(question as SweepOrder) : run(question as LoadOrder)));
process.send?.({ ready: true });
