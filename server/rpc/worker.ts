/** One accepting thread of port 1530: TLS 1.3 with client certificates, check-ins answered here, the rest handed to the main thread once authenticated. */
import { createServer, type Socket } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { type handleUnaryCall, Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js';
import { systemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { idBytes, idText } from '../../core/base/ids.ts';
import type { Domain } from '../../core/crypto/domain.ts';
import { rpcServerContext } from '../../core/crypto/tls.ts';
import { AGENT_METHODS, type AgentMethod, LINK_METHOD } from '../../proto/load.ts';
import { Columns } from '../fleet/columns.ts';
import { Authenticator } from './authenticate.ts';
import { CHECK_IN_STATUSES, CheckInService } from './check-in.ts';
import { fromFault, isUnexpected, toServiceError } from './fault.ts';
import { LinkStreams } from './link-streams.ts';
import { DURATION_BUCKETS, type ForwardedMethod, type FromWorker, type ToWorker, type WorkerSetup } from './messages.ts';
import { peerIdentity } from './peer-identity.ts';

const port: MessagePort = parentPort as unknown as MessagePort;
const setup = workerData as WorkerSetup;
const say = (message: FromWorker): void => port.postMessage(message);
const clock = systemClock;
const columns = new Columns(setup.memory);

const checkIns = new CheckInService({
  columns,
  settings: setup.checkIn,
  key: { publicKey: setup.publicKey, secretKey: setup.secretKey },
  clock,
  events: {
    traits: (slot, { traits }) => {
      if (traits === null) return;
      say({
        kind: 'traits',
        slot,
        baseHash: Buffer.from(traits.base_hash).toString('hex'),
        hash: Buffer.from(traits.hash).toString('hex'),
        full: traits.full,
        set: traits.set,
        removed: traits.removed,
      });
    },
    arrived: (slot) => say({ kind: 'event', event: 'arrived', slot, text: '' }),
    regressed: (slot) => say({ kind: 'event', event: 'regressed', slot, text: '' }),
    rejected: (slot, reason) => say({ kind: 'event', event: 'rejected', slot, text: reason.slice(0, 200) }),
    flagged: (slot, flags) => say({ kind: 'event', event: 'flagged', slot, text: flags.slice(0, 8).join(',').slice(0, 200) }),
  },
});
const authenticator = new Authenticator(
  columns,
  { fleetId: idBytes(setup.checkIn.fleetId), siteId: setup.checkIn.siteId, epoch: setup.checkIn.epoch, startedAt: setup.startedAt },
  clock,
);

// ---- counters, handed to the main thread once a second --------------------------------------------------------------
const counts = Object.fromEntries(CHECK_IN_STATUSES.map((name) => [name, 0])) as Record<(typeof CHECK_IN_STATUSES)[number], number>;
const durations = Object.fromEntries(
  CHECK_IN_STATUSES.map((name) => [name, new Array<number>(DURATION_BUCKETS.length + 1).fill(0)]),
) as Record<(typeof CHECK_IN_STATUSES)[number], number[]>;
// a finer resolution wakes an idle thread more often than the requests do: at 1 ms it cost a third of a check-in
const delay = monitorEventLoopDelay({ resolution: 10 });
delay.enable();

function count(status: keyof typeof counts, seconds: number): void {
  counts[status] += 1;
  let bucket = 0;
  while (bucket < DURATION_BUCKETS.length && seconds > DURATION_BUCKETS[bucket]!) bucket++;
  durations[status][bucket]! += 1;
}

const report = setInterval(() => {
  const p99 = delay.percentile(99) / 1e6;
  const max = delay.max / 1e6;
  delay.reset();
  say({
    kind: 'counts',
    checkIns: { ...counts },
    durations,
    kept: peers.size,
    delayP99Ms: Number.isFinite(p99) ? p99 : 0,
    delayMaxMs: Number.isFinite(max) ? max : 0,
  });
  for (const name of CHECK_IN_STATUSES) {
    counts[name] = 0;
    durations[name].fill(0);
  }
}, 1000);
report.unref();

// ---- connections ----------------------------------------------------------------------------------------------------
/** `address:port` of a live connection → the envoy its certificate names. Forgotten when the connection closes, before anybody can have the same port. */
const peers = new Map<string, { readonly envoyId: Uint8Array; readonly socket: Socket }>();
const sockets = new Map<string, Socket>();
const perAddress = new Map<string, number>();

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}

function admit(socket: Socket): boolean {
  const address = socket.remoteAddress;
  if (address === undefined || sockets.size >= setup.limits.connections) return false;
  const same = perAddress.get(address) ?? 0;
  if (!isLoopback(address) && same >= setup.limits.connectionsPerAddress) return false;
  perAddress.set(address, same + 1);
  const name = `${address}:${socket.remotePort}`;
  sockets.set(name, socket);
  // half-open and silent connections end here; a first authenticated request lifts it
  const silence = setTimeout(() => {
    if (!peers.has(name) && !linkStreams.holds(name)) socket.destroy();
  }, setup.limits.headerTimeoutMs);
  silence.unref();
  socket.once('close', () => {
    clearTimeout(silence);
    sockets.delete(name);
    peers.delete(name);
    const left = (perAddress.get(address) ?? 1) - 1;
    if (left <= 0) perAddress.delete(address);
    else perAddress.set(address, left);
  });
  return true;
}

function peerOf(call: Parameters<handleUnaryCall<Buffer, Buffer>>[0]): { readonly envoyId: Uint8Array; readonly address: string } {
  const address = call.getPeer();
  const known = peers.get(address);
  if (known !== undefined) return { envoyId: known.envoyId, address };
  const envoyId = peerIdentity(call.getAuthContext()?.sslPeerCertificate, setup.checkIn.fleetId);
  const socket = sockets.get(address);
  if (socket !== undefined) peers.set(address, { envoyId, socket });
  return { envoyId, address };
}

function keepsConnection(): boolean {
  const { mode, keepBelowMs, keepMax } = setup.connection;
  return mode === 'keep' || (mode === 'auto' && setup.checkIn.intervalMs <= keepBelowMs && peers.size < keepMax);
}

// ---- calls ----------------------------------------------------------------------------------------------------------
const waiting = new Map<number, { resolve(reply: Buffer): void; reject(error: unknown): void }>();
let nextCall = 1;

function forward(
  method: ForwardedMethod,
  a: { slot: number; envoyId: Uint8Array; sequence: number; retry: boolean; payload: Uint8Array },
): Promise<Buffer> {
  const id = nextCall++;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    say({ kind: 'call', id, method, slot: a.slot, envoyId: idText(a.envoyId), sequence: a.sequence, retry: a.retry, payload: a.payload });
  });
}

/** Not ours: the way to the owner goes with the refusal, when the main thread knows it. */
const NOT_OURS: ReadonlySet<string> = new Set(['REDIRECT', 'RETRY_ELSEWHERE', 'WRONG_AUDIENCE']);

async function withOwner(refusal: CodedError, envoyId: string): Promise<CodedError> {
  const id = nextCall++;
  const grant = await new Promise<Buffer>((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    say({ kind: 'owner', id, envoyId, wrongAudience: refusal.code === 'WRONG_AUDIENCE' });
  });
  if (grant.length > 0) {
    const details = { redirect: JSON.parse(grant.toString('utf8')) as unknown };
    return new CodedError(refusal.code === 'WRONG_AUDIENCE' ? 'WRONG_AUDIENCE' : 'REDIRECT', refusal.message, { details });
  }
  return refusal.code === 'REDIRECT'
    ? new CodedError('RETRY_ELSEWHERE', 'this site does not own the envoy, and knows nobody who does')
    : refusal;
}

let stopping = false;
const linkStreams = new LinkStreams({ say, fleetId: setup.checkIn.fleetId, now: () => clock.now(), mayOpen: () => !stopping });

function refuse(thrown: unknown, method: string, envoyId: string, address: string): unknown {
  const code = thrown instanceof CodedError ? thrown.code : 'INTERNAL';
  say({ kind: 'refused', code, method, envoyId, address });
  if (isUnexpected(thrown) && thrown instanceof Error)
    process.stderr.write(
      `${JSON.stringify({ time: new Date(clock.now()).toISOString(), level: 'error', component: 'rpc', msg: 'a call failed unexpectedly', error: thrown.stack })}\n`,
    );
  if (thrown instanceof CodedError && thrown.code === 'REVOKED')
    return new CodedError('REVOKED', thrown.message, { details: { signed: checkIns.signRevoked(thrown.details ?? {}) } });
  return thrown;
}

function unary(domain: Domain, method: AgentMethod): handleUnaryCall<Buffer, Buffer> {
  return (call, callback) => {
    const begun = performance.now();
    let envoyId = '';
    let address = '';
    const fail = (thrown: unknown): void => {
      if (thrown instanceof CodedError && NOT_OURS.has(thrown.code) && envoyId !== '' && thrown.details?.['redirect'] === undefined)
        withOwner(thrown, envoyId).then(answer, answer);
      else answer(thrown);
    };
    const answer = (thrown: unknown): void => callback(toServiceError(refuse(thrown, method, envoyId, address), clock.now()));
    try {
      if (stopping) throw new CodedError('SHUTTING_DOWN', 'this server is stopping', { retryAfterSeconds: 5 });
      const peer = peerOf(call);
      address = peer.address;
      envoyId = idText(peer.envoyId);
      const authenticated = authenticator.authenticate(domain, call.request, peer.envoyId);
      if (method === 'checkIn') {
        const { status, reply } = checkIns.handle(authenticated, keepsConnection());
        count(status, (performance.now() - begun) / 1000);
        callback(null, reply);
        return;
      }
      forward(method, { ...authenticated, envoyId: peer.envoyId, sequence: authenticated.header.sequence }).then(
        (reply) => callback(null, reply),
        fail,
      );
    } catch (thrown) {
      fail(thrown);
    }
  };
}

const bytes = (value: Buffer): Buffer => value;
const definition = (path: string) =>
  ({
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  }) as const;
const service: ServiceDefinition = {
  ...Object.fromEntries(Object.entries(AGENT_METHODS).map(([name, path]) => [name, definition(path)])),
  link: { ...definition(LINK_METHOD), requestStream: true, responseStream: true },
};
const domains: Readonly<Record<AgentMethod, Domain>> = {
  checkIn: 'checkIn',
  reportResults: 'reportResults',
  resolveSecrets: 'resolveSecrets',
};

const server = new Server({
  // bookkeeping of every call that nobody reads
  'grpc.enable_channelz': 0,
  'grpc.max_receive_message_length': setup.limits.messageBytes,
  'grpc.max_send_message_length': 16 * 1024 * 1024,
  'grpc.max_concurrent_streams': setup.limits.streams,
  'grpc.keepalive_time_ms': 60_000,
  'grpc.max_metadata_size': 16 * 1024,
});
// the one place that adds services: those of agents behind authenticate, that of servers behind the signed hello which the main thread hears
server.addService(service, {
  ...Object.fromEntries(Object.keys(AGENT_METHODS).map((name) => [name, unary(domains[name as AgentMethod], name as AgentMethod)])),
  link: linkStreams.accept,
});

const credentials = ServerCredentials.createSsl(
  Buffer.from(setup.tls.rootCa),
  [{ cert_chain: Buffer.from(setup.tls.certificateChain), private_key: Buffer.from(setup.tls.privateKey) }],
  true,
);
const updatable = credentials as unknown as { updateSecureContextOptions(options: object): void };

function useContext(certificateChain: string, privateKey: string, ticketKeys: Uint8Array | undefined): void {
  updatable.updateSecureContextOptions(
    rpcServerContext(setup.tls.rootCa, { certificateChain, privateKey }, ticketKeys === undefined ? undefined : Buffer.from(ticketKeys)),
  );
}

const injector = server.createConnectionInjector(credentials);
useContext(setup.tls.certificateChain, setup.tls.privateKey, setup.ticketKeys);

const listener = createServer({ noDelay: true, keepAlive: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  if (stopping || !admit(socket)) {
    socket.destroy();
    return;
  }
  injector.injectConnection(socket);
});

function listen(wanted: number): void {
  listener.once('error', (error) => say({ kind: 'failed', message: error.message }));
  listener.listen({ port: wanted, host: setup.host, reusePort: true, backlog: 4096 }, () => {
    const address = listener.address();
    say({ kind: 'listening', port: typeof address === 'object' && address !== null ? address.port : wanted });
  });
}

function stop(): void {
  stopping = true;
  clearInterval(report);
  delay.disable();
  listener.close();
  linkStreams.closeAll();
  injector.drain(2_000);
  const force = setTimeout(() => server.forceShutdown(), 2_500);
  server.tryShutdown(() => {
    clearTimeout(force);
    injector.destroy();
    for (const socket of sockets.values()) socket.destroy();
    say({ kind: 'stopped' });
    port.close();
  });
}

/** Connections of a revoked envoy end at once. */
function drop(envoyId: string): void {
  const wanted = idBytes(envoyId);
  for (const { envoyId: id, socket } of peers.values()) if (Buffer.compare(Buffer.from(id), wanted) === 0) socket.destroy();
}

port.on('message', (message: ToWorker) => {
  if (message.kind === 'listen') listen(message.port);
  else if (message.kind === 'release') {
    checkIns.take(message.table);
    say({ kind: 'taken', id: message.id });
  } else if (message.kind === 'context') useContext(message.certificateChain, message.privateKey, message.ticketKeys);
  else if (message.kind === 'drop') drop(message.envoyId);
  else if (message.kind === 'delegation') checkIns.useDelegation(message.delegation);
  else if (message.kind === 'stop') stop();
  else if (message.kind === 'streamFrame' || message.kind === 'streamTaken' || message.kind === 'streamClose') linkStreams.take(message);
  else {
    const call = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.error !== undefined) call?.reject(fromFault(message.error));
    else call?.resolve(Buffer.from(message.reply ?? new Uint8Array(0)));
  }
});
