/** Two hundred envoys check in every second over the real protocol while the server is killed with -9 and started again. */
import { mkdtempSync, rmSync } from 'node:fs';
import { type ClientHttp2Session, connect } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { type BenchEnvoy, type BenchSite, makeSite } from '../../../bench/site.ts';
import { idBytes } from '../../../core/base/ids.ts';
import { signFor } from '../../../core/crypto/domain.ts';
import { AGENT_METHODS, codecs, ERROR_TRAILER } from '../../../proto/load.ts';
import { eventually } from '../../harness/eventually.ts';
import { freePort } from '../../harness/free-port.ts';
import { startProgram } from '../../harness/process-launcher.ts';

const ENVOYS = 200;
const dir = mkdtempSync(join(tmpdir(), 'vigo-herd-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** One envoy: a request a second on a kept connection, a new connection after any failure. */
class Member {
  #sequence = Date.now();
  #session: ClientHttp2Session | undefined;
  readonly #site: BenchSite;
  readonly #envoy: BenchEnvoy;
  readonly #port: number;
  lastGood = 0;
  longestMs = 0;
  readonly refusals = new Map<string, number>();

  constructor(site: BenchSite, envoy: BenchEnvoy, port: number) {
    this.#site = site;
    this.#envoy = envoy;
    this.#port = port;
  }

  async once(): Promise<void> {
    const begun = Date.now();
    const outcome = await this.#call().catch(() => 'unreachable');
    this.longestMs = Math.max(this.longestMs, Date.now() - begun);
    if (outcome === '') {
      this.lastGood = Date.now();
      return;
    }
    this.refusals.set(outcome, (this.refusals.get(outcome) ?? 0) + 1);
    this.close();
  }

  #call(): Promise<string> {
    this.#sequence += 1;
    const header = {
      fleet_id: idBytes(this.#site.fleetId),
      envoy_id: idBytes(this.#envoy.id),
      audience: this.#site.siteId,
      highest_epoch: 0,
      owner_epoch: 1,
      sequence: this.#sequence,
      sent_at_ms: Date.now(),
    };
    const payload = codecs.checkInRequest.encode({ header, protocol: 1, mode: 'enforce' });
    const message = codecs.signedRequest.encode({
      payload,
      signature: signFor('checkIn', { secretKey: Buffer.from(this.#envoy.secretKey, 'hex') }, payload),
    });
    const frame = Buffer.concat([Buffer.alloc(5), message]);
    frame.writeUInt32BE(message.length, 1);
    this.#session ??= connect(`https://localhost:${this.#port}`, {
      ca: this.#site.rootCa,
      cert: this.#envoy.certificate,
      key: this.#envoy.privateKey,
      minVersion: 'TLSv1.3',
    });
    const session = this.#session;
    return new Promise((resolve, reject) => {
      session.once('error', reject);
      const stream = session.request({
        ':method': 'POST',
        ':path': AGENT_METHODS.checkIn,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      let trailers: Record<string, unknown> = {};
      const keep = (received: object) => {
        trailers = { ...trailers, ...received };
      };
      stream.on('response', keep).on('trailers', keep).on('error', reject).resume();
      stream.once('close', () => {
        const detail = trailers[ERROR_TRAILER];
        if (trailers['grpc-status'] === '0') resolve('');
        else resolve(typeof detail === 'string' ? codecs.errorDetail.decode(Buffer.from(detail, 'base64')).code : 'unreachable');
      });
      stream.setTimeout(10_000, () => stream.destroy(new Error('no answer within 10 s')));
      stream.end(frame);
    });
  }

  close(): void {
    this.#session?.destroy();
    this.#session = undefined;
  }
}

test('after kill -9 and a start all are healthy again, no request hangs, nobody is refused for good', async () => {
  const port = await freePort();
  const site = await makeSite(dir, ENVOYS, ENVOYS, {
    server: { grpc_listen: `127.0.0.1:${port}`, api_listen: `127.0.0.1:${await freePort()}`, threads: 1 },
  });
  const run = () => startProgram('vigosrv', ['--data-dir', site.dataDir, '--allow-root', 'run']);
  const first = run();
  await first.printed('the server is up');
  const members = site.envoys.map((envoy) => new Member(site, envoy, port));
  let over = false;
  const loops = members.map(async (member, index) => {
    await new Promise((resolve) => setTimeout(resolve, (index * 1000) / ENVOYS));
    while (!over) {
      const begun = Date.now();
      await member.once();
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, 1000 - (Date.now() - begun))));
    }
  });
  try {
    await eventually(() => expect(members.filter(({ lastGood }) => lastGood > 0)).toHaveLength(ENVOYS), { timeoutMs: 30_000 });
    first.kill('SIGKILL');
    await first.finished;
    const second = run();
    await second.printed('the server is up', 30_000);
    const up = Date.now();
    await eventually(() => expect(members.filter(({ lastGood }) => lastGood > up)).toHaveLength(ENVOYS), { timeoutMs: 60_000 });
    const healthyMs = Date.now() - up;
    // and it stays so: a whole further round
    const later = Date.now();
    await eventually(() => expect(members.filter(({ lastGood }) => lastGood > later)).toHaveLength(ENVOYS), { timeoutMs: 20_000 });
    expect(healthyMs).toBeLessThan(60_000);
    expect(Math.max(...members.map(({ longestMs }) => longestMs))).toBeLessThan(15_000);
    for (const { refusals } of members)
      for (const code of refusals.keys()) expect(['unreachable', 'RETRY_FRESH', 'SHUTTING_DOWN']).toContain(code);
    over = true;
    await Promise.all(loops);
    expect((await second.stop()).code).toBe(0);
  } finally {
    over = true;
    for (const member of members) member.close();
  }
}, 180_000);
