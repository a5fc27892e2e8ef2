/** One simulated envoy: the agent's real protocol, signatures and redirects, with a policy that it holds but never applies. */
import { createHash } from 'node:crypto';
import { type ClientHttp2Session, connect } from 'node:http2';
import { CodedError, isErrorCode } from '../../core/base/errors.ts';
import { idBytes, newId } from '../../core/base/ids.ts';
import { type Domain, signFor } from '../../core/crypto/domain.ts';
import type { RunReport } from '../../core/policy/outcome.ts';
import { openGrant, signedGrantSchema } from '../../core/policy/ownership.ts';
import { AGENT_METHODS, type AgentMethod, codecs, ERROR_TRAILER } from '../../proto/load.ts';
import type { CheckInReply, RequestHeader } from '../../proto/messages.ts';

export interface Credentials {
  readonly id: string;
  readonly hostname: string;
  /** 64 bytes, hex */
  readonly secretKey: string;
  /** PEM with the site CA */
  readonly certificate: string;
  readonly privateKey: string;
}

export interface Fleet {
  readonly fleetId: string;
  readonly rootCa: string;
  /** raw 32 bytes, base64 */
  readonly rootPublicKey: string;
}

/** Where an envoy belongs, as far as it knows. */
export interface Place {
  readonly siteId: string;
  readonly servers: readonly string[];
  readonly ownerEpoch: number;
}

/** What happened, for statistics and for the checker of the history. Times are milliseconds since 1970. */
export type SimEvent =
  | {
      readonly kind: 'answered';
      readonly site: string;
      readonly ms: number;
      readonly status: 'no_change' | 'renew' | 'bundle' | 'no_policy' | 'wait';
    }
  | { readonly kind: 'policy'; readonly site: string; readonly ownerEpoch: number; readonly at: number }
  | { readonly kind: 'redirected'; readonly from: string; readonly to: string; readonly ownerEpoch: number; readonly at: number }
  | { readonly kind: 'reported'; readonly site: string; readonly runId: string; readonly result: string }
  | { readonly kind: 'failed'; readonly site: string; readonly code: string };

interface Held {
  release: number;
  policyHash: Uint8Array;
  headerHash: Uint8Array;
  seq: number;
  epoch: number;
  directive: Uint8Array;
  site: string;
}

const EMPTY = Buffer.alloc(0);
const TIMEOUT_MS = 30_000;
const MAX_REDIRECTS = 3;
const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

export interface Hints {
  readonly nextMs: number;
  readonly jitterPct: number;
  /** seconds the server asked to wait, 0 for none */
  readonly waitS: number;
}

export class VirtualEnvoy {
  readonly #who: Credentials;
  readonly #fleet: Fleet;
  readonly #secretKey: Buffer;
  readonly #rootPublicKey: Buffer;
  readonly #reportEvery: number;
  readonly #note: (event: SimEvent) => void;
  #place: Place;
  #fallbacks: readonly string[] = [];
  #session: { readonly server: string; readonly session: ClientHttp2Session } | undefined;
  #ticket: { readonly server: string; readonly bytes: Buffer } | undefined;
  #sequence = Date.now();
  #offsetMs = 0;
  #held: Held = { release: 0, policyHash: EMPTY, headerHash: EMPTY, seq: 0, epoch: 0, directive: EMPTY, site: '' };
  #keys: string[] = [];
  #queue: RunReport[] = [];
  #cycles = 0;

  constructor(parts: {
    readonly who: Credentials;
    readonly fleet: Fleet;
    readonly place: Place;
    /** every n-th cycle has a full report, the others a heartbeat */
    readonly reportEvery: number;
    note(event: SimEvent): void;
  }) {
    this.#who = parts.who;
    this.#fleet = parts.fleet;
    this.#place = parts.place;
    this.#reportEvery = parts.reportEvery;
    this.#note = (event) => parts.note(event);
    this.#secretKey = Buffer.from(parts.who.secretKey, 'hex');
    this.#rootPublicKey = Buffer.from(parts.fleet.rootPublicKey, 'base64');
  }

  get place(): Place {
    return this.#place;
  }

  get id(): string {
    return this.#who.id;
  }

  /** reports that no server has taken yet */
  get queued(): number {
    return this.#queue.length;
  }

  /** As an agent: what is queued first, then the check-in, then this run's report. Never throws for what a server says. */
  async cycle(): Promise<Hints> {
    try {
      await this.#drain();
      const hints = await this.#checkIn();
      await this.#report();
      return hints;
    } catch (thrown) {
      if (!(thrown instanceof CodedError)) throw thrown;
      this.#note({ kind: 'failed', site: this.#place.siteId, code: thrown.code });
      this.close();
      return { nextMs: 0, jitterPct: 10, waitS: thrown.retryAfterSeconds ?? 0 };
    }
  }

  async #checkIn(): Promise<Hints> {
    const begun = performance.now();
    const bytes = await this.#call('checkIn', 'checkIn', (header) =>
      codecs.checkInRequest.encode({
        header,
        protocol: 1,
        release: this.#held.release,
        body_schema: this.#held.release === 0 ? 0 : 1,
        policy_hash: this.#held.policyHash,
        held_header_hash: this.#held.headerHash,
        held_seq: this.#held.seq,
        directive_hash: this.#held.directive,
        known_keys: this.#keys,
        pending_results: this.#queue.length,
        agent_version: 'sim',
        mode: 'enforce',
      }),
    );
    const ms = performance.now() - begun;
    const reply = codecs.checkInReply.decode(bytes);
    this.#note({ kind: 'answered', site: this.#place.siteId, ms, status: this.#take(reply) });
    const { directive } = reply;
    if (directive?.keep_connection !== true) this.close();
    return { nextMs: directive?.next_ms ?? 0, jitterPct: directive?.jitter_pct ?? 10, waitS: reply.wait?.retry_after_s ?? 0 };
  }

  #take(reply: CheckInReply): 'no_change' | 'renew' | 'bundle' | 'no_policy' | 'wait' {
    const { siteId } = this.#place;
    if (reply.wait !== undefined) return 'wait';
    if (reply.signed === undefined) {
      this.#note({ kind: 'policy', site: siteId, ownerEpoch: this.#place.ownerEpoch, at: Date.now() });
      return 'no_change';
    }
    const answer = codecs.signedAnswer.decode(reply.signed.payload);
    const record = answer.header!.record;
    const header = JSON.parse(Buffer.from(record).toString('utf8')) as {
      release: number;
      policy_hash: string;
      seq: number;
      epoch: number;
      owner_epoch: number;
      site_id: string;
    };
    if (header.site_id !== siteId || header.owner_epoch < this.#place.ownerEpoch)
      throw new CodedError('BUNDLE_REJECTED', `a header of ${header.site_id} with owner epoch ${header.owner_epoch}`);
    this.#place = { ...this.#place, ownerEpoch: header.owner_epoch };
    this.#note({ kind: 'policy', site: siteId, ownerEpoch: header.owner_epoch, at: Date.now() });
    this.#held = {
      release: header.release,
      policyHash: Buffer.from(header.policy_hash, 'hex'),
      headerHash: sha256(record),
      seq: header.seq,
      epoch: header.epoch,
      directive: sha256(answer.authority),
      site: siteId,
    };
    if (!this.#keys.includes(reply.signed.key_id)) this.#keys.push(reply.signed.key_id);
    return answer.kind as 'renew' | 'bundle' | 'no_policy';
  }

  #newReport(): RunReport {
    const now = Date.now();
    return {
      run_id: newId(now),
      body_hash: '',
      policy_hash: Buffer.from(this.#held.policyHash).toString('hex'),
      release: this.#held.release,
      owner_epoch: this.#place.ownerEpoch,
      epoch: this.#held.epoch,
      seq: this.#held.seq,
      started_at: now,
      ended_at: now,
      mode: 'enforce',
      flags: [],
      outcomes: [],
    };
  }

  async #report(): Promise<void> {
    if (this.#cycles++ % this.#reportEvery !== 0) {
      await this.#call('reportResults', 'reportResults', (header) =>
        codecs.reportResultsRequest.encode({ header, reports: [], heartbeat_hash: Buffer.alloc(32, 7) }),
      );
      return;
    }
    this.#queue.push(this.#newReport());
    await this.#drain();
  }

  async #drain(): Promise<void> {
    if (this.#queue.length === 0) return;
    const runs = this.#queue.slice(0, 50);
    const reports = runs.map((run) => ({ subject: this.#who.id, run_id: run.run_id, report: Buffer.from(JSON.stringify(run)) }));
    const bytes = await this.#call('reportResults', 'reportResults', (header) =>
      codecs.reportResultsRequest.encode({ header, reports, heartbeat_hash: Buffer.alloc(32, 7) }),
    );
    const { results } = codecs.reportResultsReply.decode(bytes);
    runs.forEach(({ run_id: runId }, index) => {
      this.#note({ kind: 'reported', site: this.#place.siteId, runId, result: results[index] ?? 'missing' });
    });
    this.#queue = this.#queue.slice(runs.length);
  }

  /** Follows redirects, learns the server's time and the highest sequence; tries the servers in order when one is not there. */
  async #call(method: AgentMethod, domain: Domain, payload: (header: RequestHeader) => Buffer): Promise<Buffer> {
    let last: CodedError | undefined;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      let moved = false;
      for (const server of [...this.#place.servers, ...this.#fallbacks]) {
        try {
          return await this.#tryServer(server, method, domain, payload);
        } catch (thrown) {
          if (!(thrown instanceof CodedError)) throw thrown;
          last = thrown;
          moved = this.#follow(thrown);
          if (moved || !['UNREACHABLE', 'DEADLINE', 'RETRY_ELSEWHERE', 'SHUTTING_DOWN', 'WRONG_AUDIENCE'].includes(thrown.code)) break;
          this.close();
        }
      }
      if (!moved) break;
    }
    throw last ?? new CodedError('UNREACHABLE', 'no server');
  }

  async #tryServer(server: string, method: AgentMethod, domain: Domain, payload: (header: RequestHeader) => Buffer): Promise<Buffer> {
    for (let attempt = 0; ; attempt++) {
      const bytes = payload(this.#header());
      const request = codecs.signedRequest.encode({ payload: bytes, signature: signFor(domain, { secretKey: this.#secretKey }, bytes) });
      try {
        return await this.#send(server, method, request);
      } catch (thrown) {
        if (!(thrown instanceof CodedError) || attempt >= 2 || !this.#learnt(thrown)) throw thrown;
      }
    }
  }

  #learnt({ code, details }: CodedError): boolean {
    const serverTime = details?.['server_time_ms'];
    const highest = details?.['highest'];
    if ((code === 'CLOCK_SKEW' || code === 'RETRY_FRESH') && typeof serverTime === 'number') {
      this.#offsetMs = serverTime - Date.now();
      return true;
    }
    if (code !== 'REPLAYED') return false;
    this.#sequence = Math.max(this.#sequence, Date.now(), typeof highest === 'number' ? highest : 0);
    return true;
  }

  /** True when the error carries a grant that holds and leads on. */
  #follow(error: CodedError): boolean {
    const parsed = signedGrantSchema.safeParse(error.details?.['redirect']);
    if (!parsed.success) return false;
    const grant = openGrant(parsed.data, { rootPublicKey: this.#rootPublicKey, fleetId: this.#fleet.fleetId, revokedSerials: new Set() });
    if (grant.envoy_id !== this.#who.id || grant.owner_epoch <= this.#place.ownerEpoch) return false;
    this.#note({ kind: 'redirected', from: this.#place.siteId, to: grant.site_id, ownerEpoch: grant.owner_epoch, at: Date.now() });
    this.#fallbacks = [...new Set([...grant.fallback_servers, ...this.#place.servers])];
    this.#place = { siteId: grant.site_id, servers: grant.servers, ownerEpoch: grant.owner_epoch };
    this.close();
    return true;
  }

  #header(): RequestHeader {
    this.#sequence += 1;
    return {
      fleet_id: idBytes(this.#fleet.fleetId),
      envoy_id: idBytes(this.#who.id),
      audience: this.#place.siteId,
      highest_epoch: this.#held.site === this.#place.siteId ? this.#held.epoch : 0,
      owner_epoch: this.#place.ownerEpoch,
      sequence: this.#sequence,
      sent_at_ms: Date.now() + this.#offsetMs,
    };
  }

  #connected(server: string): ClientHttp2Session {
    if (this.#session?.server === server && !this.#session.session.closed && !this.#session.session.destroyed) return this.#session.session;
    this.close();
    const ticket = this.#ticket?.server === server ? this.#ticket.bytes : undefined;
    const session = connect(`https://${server}`, {
      ca: this.#fleet.rootCa,
      cert: this.#who.certificate,
      key: this.#who.privateKey,
      minVersion: 'TLSv1.3',
      ...(ticket === undefined ? {} : { session: ticket }),
    });
    session.on('error', () => session.destroy());
    session.socket.on('session', (bytes: Buffer) => {
      this.#ticket = { server, bytes };
    });
    this.#session = { server, session };
    return session;
  }

  #send(server: string, method: AgentMethod, message: Buffer): Promise<Buffer> {
    const frame = Buffer.allocUnsafe(message.length + 5);
    frame[0] = 0;
    frame.writeUInt32BE(message.length, 1);
    message.copy(frame, 5);
    return new Promise((resolve, reject) => {
      const unreachable = (why: string) => reject(new CodedError('UNREACHABLE', `no answer from ${server}: ${why}`));
      const session = this.#connected(server);
      const stream = session.request({
        ':method': 'POST',
        ':path': AGENT_METHODS[method],
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      const parts: Buffer[] = [];
      let trailers: Record<string, unknown> = {};
      const merge = (received: object) => {
        trailers = { ...trailers, ...received };
      };
      stream.setTimeout(TIMEOUT_MS, () => stream.close());
      stream.once('response', merge);
      stream.once('trailers', merge);
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.once('error', (error) => unreachable(error.message));
      stream.once('close', () => {
        if (trailers['grpc-status'] === undefined) return unreachable('the connection ended');
        const detail = trailers[ERROR_TRAILER];
        if (typeof detail === 'string') return reject(codedError(Buffer.from(detail, 'base64')));
        if (trailers['grpc-status'] !== '0') return unreachable(`gRPC status ${String(trailers['grpc-status'])}`);
        resolve(Buffer.concat(parts).subarray(5));
      });
      stream.end(frame);
    });
  }

  close(): void {
    this.#session?.session.close();
    this.#session = undefined;
  }
}

function codedError(trailer: Buffer): CodedError {
  const detail = codecs.errorDetail.decode(trailer);
  const details = detail.details === '' ? {} : (JSON.parse(detail.details) as Record<string, unknown>);
  return new CodedError(isErrorCode(detail.code) ? detail.code : 'INTERNAL', detail.message, {
    retryAfterSeconds: detail.retry_after_s === 0 ? undefined : detail.retry_after_s,
    details: { server_time_ms: detail.server_time_ms, ...details },
  });
}
