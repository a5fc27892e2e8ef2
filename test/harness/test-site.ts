/** A real server core in this process, envoys enrolled through its real enrolment, and a raw client for requests that no honest agent sends. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type ClientHttp2Session, connect } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AgentIdentity, enrollKeys } from '../../agent/enroll/identity.ts';
import { GrpcLink } from '../../agent/link/grpc-link.ts';
import { Home } from '../../agent/link/home.ts';
import { Sequence } from '../../agent/link/sequence.ts';
import { TrustStore } from '../../agent/link/trust.ts';
import { openStateStore } from '../../agent/state/lmdb-state-store.ts';
import type { EnrollRequest } from '../../core/api/enroll.ts';
import { type Clock, systemClock } from '../../core/base/clock.ts';
import { idBytes } from '../../core/base/ids.ts';
import { canonicalBytes, type Json } from '../../core/base/json.ts';
import { createLogger, type Logger } from '../../core/base/log.ts';
import { Redactor } from '../../core/base/redaction.ts';
import { type Domain, signFor } from '../../core/crypto/domain.ts';
import type { SigningKey } from '../../core/crypto/ed25519.ts';
import { readKeyFile } from '../../core/crypto/key-file.ts';
import { sha256Hex } from '../../core/policy/bundle.ts';
import { AGENT_METHODS, type AgentMethod, codecs, ERROR_TRAILER } from '../../proto/load.ts';
import type { RequestHeader } from '../../proto/messages.ts';
import { initSite } from '../../server/init.ts';
import type { LoadedRelease } from '../../server/release-switch.ts';
import { type RunningServer, startServer } from '../../server/server.ts';
import { readSettings } from '../../server/settings.ts';

const TESTER = { kind: 'system', id: 'test', name: 'test' } as const;

/** A release of one entry that matches what `matches` says; `vars` make its policy. */
export function testRelease(
  number: number,
  vars: Readonly<Record<string, Json>>,
  options: { readonly refs?: readonly string[]; readonly matches?: (hostname: string) => boolean } = {},
): LoadedRelease {
  const refs = options.refs ?? [];
  const body = canonicalBytes({
    schema: 1,
    release: number,
    version: 'v',
    match: '*',
    entry: 'e#0',
    environment: null,
    roles: [],
    secrets_epoch: 0,
    secret_refs: refs,
    module_count: 0,
    resource_count: 0,
    vars,
    vars_when: [],
    modules: [],
    templates: {},
    devices: [],
  });
  const entry = {
    entry: 'e#0',
    body,
    bodySha256: sha256Hex(body),
    policyHash: sha256Hex(JSON.stringify(vars)),
    secretsEpoch: 0,
    observe: false,
    moduleCount: 0,
    secretRefs: refs,
  };
  const matches = options.matches ?? (() => true);
  return {
    number,
    version: 'v',
    root: sha256Hex(`${number}`),
    entries: new Map([['e#0', entry]]),
    entryIdFor: (hostname) => (matches(hostname) ? 'e#0' : undefined),
    environmentOf: () => null,
  };
}

export interface TestEnvoy {
  readonly identity: AgentIdentity;
  readonly state: ReturnType<typeof openStateStore>;
  readonly trust: TrustStore;
  readonly sequence: Sequence;
  readonly link: GrpcLink;
}

/** What came back: gRPC status 0 is good; `code` is ours from the trailer. */
export interface RawReply {
  readonly grpcStatus: number;
  readonly code: string;
  readonly serverTimeMs: number;
  readonly message: Buffer;
}

export class TestSite {
  readonly dir = mkdtempSync(join(tmpdir(), 'vigo-site-'));
  readonly log: Logger;
  server!: RunningServer;
  readonly #clock: Clock;
  readonly #opened: TestEnvoy[] = [];

  constructor(clock: Clock = systemClock, log: Logger = createLogger({ level: 'error', format: 'json' })) {
    this.#clock = clock;
    this.log = log;
  }

  get dataDir(): string {
    return join(this.dir, 'server');
  }

  /** What the config file of an envoy of this site would say; the port changes with every start. */
  readonly configured = {
    site: this,
    get server() {
      return `localhost:${this.site.server.rpcPort}`;
    },
    api_addr: 'https://localhost:1',
    fallback_servers: [],
  };

  async init(settings: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const server = { grpc_listen: '127.0.0.1:0', api_listen: '127.0.0.1:0' };
    await initSite({
      dataDir: this.dataDir,
      hostname: 'localhost',
      admin: 'admin',
      offlineRoot: undefined,
      forceEmpty: false,
      exampleTree: undefined,
      settings: { server, enrollment: { token_bcrypt_cost: 10 }, ...settings },
      clock: systemClock,
    });
  }

  async start(): Promise<void> {
    const parsed = readSettings(readFileSync(join(this.dataDir, 'server.yaml'), 'utf8'), { file: 'server.yaml', hostname: 'localhost' });
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    const fatal = (error: Error) => {
      throw error;
    };
    this.server = await startServer({
      dataDir: this.dataDir,
      settings: parsed.settings,
      clock: this.#clock,
      log: this.log,
      redactor: new Redactor(),
      version: '0',
      fatal,
    });
  }

  async token(pattern: string): Promise<string> {
    return (await this.server.parts.tokens.create({ pattern, ttlMs: 600_000 }, TESTER)).token;
  }

  /** An enrolment request as an agent makes it, with its keys. */
  async request(
    hostname: string,
    name: string,
    token: string | undefined,
    more: Partial<EnrollRequest> = {},
  ): Promise<{
    readonly request: EnrollRequest;
    readonly signingKey: SigningKey;
    readonly configDir: string;
    readonly sealingKey: AgentIdentity['sealingKeys'][number];
  }> {
    const configDir = join(this.dir, name);
    const { signingKey, sealingKey, csr } = await enrollKeys(configDir);
    const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
    const unsigned = {
      ...(token === undefined ? {} : { token }),
      hostname,
      csr,
      identity_key: base64(signingKey.publicKey),
      sealing_key: base64(sealingKey.publicKey),
      platform: 'linux/x64',
      agent_version: '0',
      timestamp_ms: Date.now(),
      ...more,
    };
    return {
      request: { ...unsigned, proof: base64(signFor('enroll', signingKey, canonicalBytes(unsigned))) },
      signingKey,
      configDir,
      sealingKey,
    };
  }

  async enroll(hostname: string, name = hostname): Promise<TestEnvoy> {
    const { request, signingKey, configDir, sealingKey } = await this.request(hostname, name, await this.token(hostname));
    const result = await this.server.parts.enrollment.enroll(request, '127.0.0.1');
    if (result.status !== 'enrolled') throw new Error('not enrolled');
    const { reply } = result;
    const identity: AgentIdentity = {
      envoyId: reply.envoy_id,
      fleetId: reply.fleet_id,
      siteId: reply.site_id,
      hostname,
      signingKey,
      sealingKeys: [sealingKey],
      rootPublicKey: Buffer.from(reply.root_public_key, 'base64'),
      caBundle: reply.ca_bundle,
      tls: { certificateChain: reply.certificate, privateKey: readKeyFile(join(configDir, 'tls.key')) },
    };
    const state = openStateStore(join(this.dir, `${name}-state`));
    const trust = new TrustStore({ rootPublicKey: identity.rootPublicKey, fleetId: identity.fleetId, facts: state.facts });
    const sequence = new Sequence(state.facts, Date.now());
    const link = new GrpcLink({
      identity,
      trust,
      sequence,
      clock: systemClock,
      version: '0',
      home: new Home({
        enrolled: identity,
        configured: this.configured,
        trust,
        state,
        log: this.log,
      }),
    });
    const envoy = { identity, state, trust, sequence, link };
    this.#opened.push(envoy);
    return envoy;
  }

  header(envoy: TestEnvoy, sequence: number, more: Partial<RequestHeader> = {}): RequestHeader {
    const { identity } = envoy;
    return {
      fleet_id: idBytes(identity.fleetId),
      envoy_id: idBytes(identity.envoyId),
      audience: identity.siteId,
      highest_epoch: 0,
      owner_epoch: 1,
      sequence,
      sent_at_ms: Date.now(),
      ...more,
    };
  }

  /** A signed check-in that says nothing of what is held. */
  checkInBytes(envoy: TestEnvoy, header: RequestHeader, domain: Domain = 'checkIn', key: SigningKey = envoy.identity.signingKey): Buffer {
    const payload = codecs.checkInRequest.encode({ header, protocol: 1, mode: 'enforce' });
    return codecs.signedRequest.encode({ payload, signature: signFor(domain, key, payload) });
  }

  connect(
    tls: { readonly certificateChain?: string; readonly privateKey?: string; readonly session?: Buffer },
    rootCa: string,
  ): ClientHttp2Session {
    const { certificateChain: cert, privateKey: key, session } = tls;
    return connect(`https://localhost:${this.server.rpcPort}`, {
      ca: rootCa,
      minVersion: 'TLSv1.3',
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(session === undefined ? {} : { session }),
    });
  }

  /** One unary call on a connection of its own, or on the given one. Rejects when the connection is refused. */
  async raw(
    envoy: TestEnvoy,
    request: Buffer,
    options: {
      readonly method?: AgentMethod;
      readonly session?: ClientHttp2Session;
      readonly headers?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<RawReply> {
    const session = options.session ?? this.connect(envoy.identity.tls, envoy.identity.caBundle);
    try {
      return await callOn(session, request, options.method ?? 'checkIn', options.headers ?? {});
    } finally {
      if (options.session === undefined) session.destroy();
    }
  }

  async stop(): Promise<void> {
    await this.server.stop();
  }

  async close(): Promise<void> {
    for (const { link, state } of this.#opened) {
      link.close();
      await state.close();
    }
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** One unary call as HTTP/2, whatever its bytes. */
export function callOn(
  session: ClientHttp2Session,
  request: Buffer,
  method: AgentMethod,
  headers: Readonly<Record<string, string>>,
): Promise<RawReply> {
  return new Promise((resolve, reject) => {
    session.once('error', reject);
    const stream = session.request({
      ':method': 'POST',
      ':path': AGENT_METHODS[method],
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    const parts: Buffer[] = [];
    let trailers: Record<string, unknown> = {};
    stream.once('response', (received) => {
      trailers = { ...trailers, ...received };
    });
    stream.once('trailers', (received) => {
      trailers = { ...trailers, ...received };
    });
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.once('error', reject);
    stream.once('close', () => {
      const status = trailers['grpc-status'];
      if (status === undefined) return reject(new Error('the connection was refused'));
      const detail = trailers[ERROR_TRAILER];
      const error = typeof detail === 'string' ? codecs.errorDetail.decode(Buffer.from(detail, 'base64')) : undefined;
      resolve({
        grpcStatus: Number(status),
        code: error?.code ?? '',
        serverTimeMs: error?.server_time_ms ?? 0,
        message: Buffer.concat(parts).subarray(5),
      });
    });
    const frame = Buffer.alloc(request.length + 5);
    frame.writeUInt32BE(request.length, 1);
    request.copy(frame, 5);
    stream.end(frame);
  });
}
