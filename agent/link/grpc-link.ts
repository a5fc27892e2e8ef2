/** ServerLink over gRPC and mutual TLS. Keeps or closes the connection as the server hints; tries the servers in order and follows redirects. */
import { createHash, randomBytes } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, ERROR_CODES, isErrorCode } from '../../core/base/errors.ts';
import { idBytes, idText } from '../../core/base/ids.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import type { SignedRecord } from '../../core/crypto/delegation.ts';
import { assertUsable } from '../../core/crypto/delegation.ts';
import { type Domain, signFor, verifyFor } from '../../core/crypto/domain.ts';
import { httpsCall, problemOf } from '../../core/crypto/https-client.ts';
import { clientOptions } from '../../core/crypto/tls.ts';
import { AGENT_METHODS, type AgentMethod, codecs, ERROR_TRAILER, PROTOCOL_VERSION } from '../../proto/load.ts';
import type { Directive, RequestHeader, SignedReply } from '../../proto/messages.ts';
import type { AgentIdentity } from '../enroll/identity.ts';
import type { Home } from './home.ts';
import type { Sequence } from './sequence.ts';
import type { CheckIn, CheckInReply, Hints, ReportResult, SealedAnswer, ServerLink } from './server-link.ts';
import type { TrustStore } from './trust.ts';

const CALL_TIMEOUT_MS = 30_000;
const MAX_BODY_BYTES = 8 * 1024 * 1024;
const CAPABILITIES = ['body.v1', 'hpke.v1'];
const DOMAIN: Readonly<Record<AgentMethod, Domain>> = {
  checkIn: 'checkIn',
  reportResults: 'reportResults',
  resolveSecrets: 'resolveSecrets',
};
const raw = (bytes: Buffer): Buffer => bytes;

export interface GrpcLinkParts {
  readonly identity: AgentIdentity;
  readonly trust: TrustStore;
  readonly sequence: Sequence;
  readonly clock: Clock;
  readonly version: string;
  readonly home: Home;
}

/** The error a gRPC status stands for: the code rides in the trailer. */
function toCodedError(error: ServiceError, server: string): CodedError & { serverTimeMs?: number } {
  const trailer = error.metadata?.get(ERROR_TRAILER)[0];
  if (!(trailer instanceof Buffer)) {
    // the transport refuses what is above the limit before anybody looks at it
    if (error.code === 8) return new CodedError('TOO_LARGE', `${server} takes no message of this size: ${error.details}`, { cause: error });
    return new CodedError(error.code === 4 ? 'DEADLINE' : 'UNREACHABLE', `no answer from ${server}: ${error.details}`, { cause: error });
  }
  const detail = codecs.errorDetail.decode(trailer);
  const details = detail.details === '' ? {} : (JSON.parse(detail.details) as Record<string, unknown>);
  return new CodedError(isErrorCode(detail.code) ? detail.code : 'INTERNAL', detail.message, {
    hint: detail.hint === '' ? undefined : detail.hint,
    retryAfterSeconds: detail.retry_after_s === 0 ? undefined : detail.retry_after_s,
    details: { ...details, server_time_ms: detail.server_time_ms },
  });
}

function hintsOf(directive: Directive | null): Hints {
  return {
    nextMs: directive?.next_ms ?? 0,
    keepConnection: directive?.keep_connection ?? false,
    fullTraits: directive?.trait_refresh_full ?? false,
    serverTimeMs: directive?.server_time_ms ?? 0,
    jitterPct: directive?.jitter_pct ?? 10,
  };
}

function textRecord({ record, signature }: { readonly record: Uint8Array; readonly signature: Uint8Array }): SignedRecord {
  return { record: Buffer.from(record).toString('utf8'), signature: Buffer.from(signature).toString('base64') };
}

const isSilence = ({ code }: CodedError): boolean => code === 'UNREACHABLE' || code === 'DEADLINE';
/** Another server may have a better answer. */
const isForAnother = (error: CodedError): boolean =>
  isSilence(error) || error.code === 'SHUTTING_DOWN' || ERROR_CODES[error.code].retry === 'elsewhere';
const hex = (text: string): Buffer => Buffer.from(text, 'hex');

export class GrpcLink implements ServerLink {
  readonly #parts: GrpcLinkParts;
  #client: { readonly server: string; readonly client: Client } | undefined;
  clockOffsetMs = 0;

  constructor(parts: GrpcLinkParts) {
    this.#parts = parts;
  }

  get server(): string {
    return this.#client?.server ?? this.#parts.home.order[0] ?? '';
  }

  #clientOf(server: string): Client {
    if (this.#client?.server === server) return this.#client.client;
    this.close();
    const { identity } = this.#parts;
    const context = createSecureContext(clientOptions(identity.caBundle, identity.tls));
    const client = new Client(server, credentials.createFromSecureContext(context), {
      'grpc.max_receive_message_length': 16 * 1024 * 1024,
      'grpc.enable_retries': 0,
      'grpc.initial_reconnect_backoff_ms': 500,
      'grpc.max_reconnect_backoff_ms': 2000,
    });
    this.#client = { server, client };
    return client;
  }

  #header(sequence: number): RequestHeader {
    const { identity, home, clock } = this.#parts;
    return {
      fleet_id: idBytes(identity.fleetId),
      envoy_id: idBytes(identity.envoyId),
      audience: home.siteId,
      highest_epoch: home.highestEpoch,
      owner_epoch: home.ownerEpoch,
      sequence,
      sent_at_ms: clock.now() + this.clockOffsetMs,
    };
  }

  /** Signs and sends; a redirect that holds starts over at the new owner, a server that cannot help is followed by the next. */
  async #call(
    method: AgentMethod,
    payload: (header: RequestHeader) => Buffer,
    signal: AbortSignal,
  ): Promise<{ readonly reply: Buffer; readonly sequence: number }> {
    const { home } = this.#parts;
    let waiting = home.order;
    /** an answer says more than silence, and that of the owner more than that of a fallback */
    let answer: CodedError | undefined;
    let silence: CodedError | undefined;
    for (let server = waiting[0]; server !== undefined; server = waiting[0]) {
      waiting = waiting.slice(1);
      const result = await this.#ask(server, method, payload, signal);
      if (!(result instanceof CodedError)) {
        home.answered(server);
        return result;
      }
      if (isSilence(result)) silence = result;
      else answer ??= result;
      if (signal.aborted) break;
      if (await home.follow(result)) {
        waiting = home.order;
        answer = undefined;
      } else if (!isForAnother(result)) throw result;
      else home.failed(server);
      this.close();
    }
    throw answer ?? silence ?? new CodedError('UNREACHABLE', 'no server is configured');
  }

  /** One server; adopts its time once, jumps the sequence once. */
  async #ask(
    server: string,
    method: AgentMethod,
    payload: (header: RequestHeader) => Buffer,
    signal: AbortSignal,
  ): Promise<{ readonly reply: Buffer; readonly sequence: number } | CodedError> {
    for (let attempt = 0; ; attempt++) {
      const sequence = await this.#parts.sequence.next();
      try {
        return { reply: await this.#send(server, method, payload(this.#header(sequence)), signal), sequence };
      } catch (thrown) {
        if (!(thrown instanceof CodedError)) throw thrown;
        if (!this.canRetry(thrown) || attempt >= 2) return thrown;
      }
    }
  }

  /** Learns time and sequence from a refusal. True when the same request, freshly signed, can succeed now. */
  canRetry(error: CodedError): boolean {
    const serverTime = error.details?.['server_time_ms'];
    if ((error.code === 'CLOCK_SKEW' || error.code === 'RETRY_FRESH') && typeof serverTime === 'number' && serverTime > 0) {
      this.clockOffsetMs = serverTime - this.#parts.clock.now();
      return true;
    }
    if (error.code === 'REPLAYED') {
      this.#parts.sequence.jump(this.#parts.clock.now() + this.clockOffsetMs, error.details?.['highest']);
      return true;
    }
    return false;
  }

  #send(server: string, method: AgentMethod, payload: Buffer, signal: AbortSignal): Promise<Buffer> {
    const request = codecs.signedRequest.encode({ payload, signature: signFor(DOMAIN[method], this.#parts.identity.signingKey, payload) });
    return new Promise((resolve, reject) => {
      const call = this.#clientOf(server).makeUnaryRequest(AGENT_METHODS[method], raw, raw, request, new Metadata(), (error, reply) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', cancel);
        if (late) reject(new CodedError('DEADLINE', `no answer from ${server} within ${CALL_TIMEOUT_MS} ms`));
        else if (error !== null) reject(toCodedError(error, server));
        else resolve(reply ?? Buffer.alloc(0));
      });
      const cancel = () => call.cancel();
      // not a deadline by the wall clock: that one jumps
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        call.cancel();
      }, CALL_TIMEOUT_MS);
      if (signal.aborted) cancel();
      else signal.addEventListener('abort', cancel, { once: true });
    });
  }

  /** Learns a new delegation if one came, then checks the reply's signature. @throws CodedError BUNDLE_REJECTED */
  async #open(domain: Domain, reply: SignedReply): Promise<void> {
    const { trust, clock } = this.#parts;
    // one that comes along is newer than the one that is held
    const key = reply.delegation === null ? trust.key(reply.key_id) : await trust.learn(textRecord(reply.delegation));
    if (key === undefined || key.keyId !== reply.key_id) throw new CodedError('BUNDLE_REJECTED', 'unknown_key');
    assertUsable(key, {
      scope: 'bundle',
      now: clock.now() + this.clockOffsetMs,
      revokedSerials: trust.revokedSerials,
      siteId: this.#parts.home.siteId,
    });
    if (!verifyFor(domain, key.publicKey, reply.payload, reply.signature)) throw new CodedError('BUNDLE_REJECTED', 'bad_reply_signature');
  }

  async checkIn(message: CheckIn, signal: AbortSignal): Promise<CheckInReply> {
    const { trust, home, version, clock } = this.#parts;
    const { traits } = message;
    const payload = (header: RequestHeader) =>
      codecs.checkInRequest.encode({
        header,
        protocol: PROTOCOL_VERSION,
        capabilities: CAPABILITIES,
        release: message.release,
        body_schema: message.bodySchema,
        policy_hash: hex(message.policyHash),
        held_header_hash: hex(message.heldHeaderHash),
        held_seq: message.heldSeq,
        secrets_epoch: message.secretsEpoch,
        traits: {
          base_hash: hex(traits.base_hash ?? ''),
          hash: hex(traits.hash),
          full: traits.full,
          set: Object.keys(traits.set).length === 0 && !traits.full ? Buffer.alloc(0) : canonicalBytes(traits.set),
          removed: [...traits.removed],
        },
        pending_results: message.pendingResults,
        mode: message.mode,
        flags: [...message.flags],
        known_keys: [...trust.keyIds(clock.now() + this.clockOffsetMs)],
        // a new owner has to say with a header of its own that its time has begun
        directive_hash: home.holdsOwnHeader ? hex(message.authorityHash) : Buffer.alloc(0),
        renew: message.renew || !home.holdsOwnHeader,
        agent_version: version,
        bundle_rejected: message.bundleRejected,
      });
    const { reply: bytes, sequence } = await this.#call('checkIn', payload, signal);
    const reply = codecs.checkInReply.decode(bytes);
    const hints = hintsOf(reply.directive);
    try {
      if (reply.wait !== undefined) return { kind: 'wait', hints, retryAfterMs: reply.wait.retry_after_s * 1000 };
      if (reply.no_change !== undefined) return { kind: 'no_change', hints, keyId: reply.no_change.key_id, head: reply.no_change.head };
      if (reply.signed === undefined) throw new CodedError('BUNDLE_REJECTED', 'empty_answer');
      return { hints, ...(await this.#signedAnswer(reply.signed, sequence, signal)) };
    } catch (thrown) {
      // the REST port, which has the large bodies, may be the one to know of the new owner
      if (!(thrown instanceof CodedError) || !(await home.follow(thrown))) throw thrown;
      this.close();
      return await this.checkIn(message, signal);
    } finally {
      if (!hints.keepConnection) this.close();
    }
  }

  async #signedAnswer(
    signed: SignedReply,
    sequence: number,
    signal: AbortSignal,
  ): Promise<Extract<CheckInReply, { kind: 'bundle' | 'renew' | 'no_policy' }> extends infer T ? Omit<T, 'hints'> : never> {
    await this.#open('checkInReply', signed);
    const answer = codecs.signedAnswer.decode(signed.payload);
    if (idText(answer.envoy_id) !== this.#parts.identity.envoyId || answer.sequence !== sequence)
      throw new CodedError('BUNDLE_REJECTED', 'answer_to_another_request');
    const kind = answer.kind;
    if ((kind !== 'bundle' && kind !== 'renew' && kind !== 'no_policy') || answer.header === null)
      throw new CodedError('BUNDLE_REJECTED', 'unknown_answer');
    if (answer.body_len > MAX_BODY_BYTES) throw new CodedError('BUNDLE_REJECTED', 'body_too_large');
    const body =
      kind !== 'bundle'
        ? undefined
        : answer.body.length > 0 || answer.body_len === 0
          ? answer.body
          : await this.#fetchBody(answer.body_sha256, answer.body_len, signal);
    return { kind, keyId: signed.key_id, header: answer.header, body, authority: Buffer.from(answer.authority).toString('utf8') } as never;
  }

  /** A large body comes over REST with the same certificate and a signature of its own. */
  async #fetchBody(sha256: string, length: number, signal: AbortSignal): Promise<Buffer> {
    const { identity, home, sequence } = this.#parts;
    const path = `/agent/v1/bodies/${sha256}`;
    const payload = codecs.httpPayload.encode({
      header: this.#header(await sequence.next()),
      method: 'GET',
      path,
      body_hash: createHash('sha256').digest(),
    });
    const reply = await httpsCall({
      method: 'GET',
      url: new URL(path, home.apiUrl),
      headers: { 'vigo-signed': `${payload.toString('base64')}.${signFor('agentHttp', identity.signingKey, payload).toString('base64')}` },
      rootCa: identity.caBundle,
      identity: identity.tls,
      timeoutMs: CALL_TIMEOUT_MS,
      maxBytes: length,
      signal,
    });
    if (reply.status !== 200) throw problemOf(reply);
    return reply.body;
  }

  async report(
    reports: Parameters<ServerLink['report']>[0],
    heartbeat: string | undefined,
    signal: AbortSignal,
  ): Promise<readonly ReportResult[]> {
    const messages = reports.map((report) => ({
      subject: this.#parts.identity.envoyId,
      run_id: report.run_id,
      report: Buffer.from(JSON.stringify(report), 'utf8'),
    }));
    const { reply } = await this.#call(
      'reportResults',
      (header) => codecs.reportResultsRequest.encode({ header, reports: messages, heartbeat_hash: hex(heartbeat ?? '') }),
      signal,
    );
    return codecs.reportResultsReply.decode(reply).results as ReportResult[];
  }

  async resolveSecrets(bodySha256: string, refs: readonly string[], signal: AbortSignal): Promise<SealedAnswer> {
    const nonce = randomBytes(16);
    const { reply, sequence } = await this.#call(
      'resolveSecrets',
      (header) => codecs.resolveSecretsRequest.encode({ header, body_sha256: hex(bodySha256), refs: [...refs], nonce }),
      signal,
    );
    const { siteId } = this.#parts.home;
    const signed = codecs.signedReply.decode(reply);
    await this.#open('resolveSecretsReply', signed);
    const sealed = codecs.sealedSecrets.decode(signed.payload);
    if (idText(sealed.envoy_id) !== this.#parts.identity.envoyId || sealed.sequence !== sequence || !nonce.equals(sealed.nonce))
      throw new CodedError('BUNDLE_REJECTED', 'answer_to_another_request');
    return { enc: sealed.enc, ct: sealed.ct, nonce, secretsEpoch: sealed.secrets_epoch, siteId };
  }

  close(): void {
    this.#client?.client.close();
    this.#client = undefined;
  }
}
