/** The HTTPS door: public and guarded routes as siblings, every route with a declared permission, all answers of one form (server.md §6). */
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { dirname } from 'node:path';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { isRoutePermission, type RoutePermission } from '../../core/api/permissions.ts';
import type { RouteContract } from '../../core/api/route.ts';
import { CodedError } from '../../core/base/errors.ts';
import { newId } from '../../core/base/ids.ts';
import { canonicalJson } from '../../core/base/json.ts';
import { localServerOptions, restServerOptions, type TlsIdentity } from '../../core/crypto/tls.ts';
import { AccessDenials } from '../access/denials.ts';
import { isInNetworks } from '../access/networks.ts';
import { type Principal, requirePermission } from '../access/permissions.ts';
import { isLoopback, RateLimit } from '../access/rate-limit.ts';
import { authenticateAgent } from './agent-guard.ts';
import { limitConnections, patience } from './connections.ts';
import { EventStreams, writeEvents } from './events.ts';
import { authenticate, LocalSockets, NOBODY } from './guard.ts';
import type { Handler, HandlerInput } from './handler.ts';
import { Idempotency } from './idempotency.ts';
import { parseInput } from './input.ts';
import type { RestParts } from './parts.ts';
import { problemOf, toCoded } from './problem.ts';

export interface RestServer {
  /** starts listening; answers the port */
  listen(host: string, port: number): Promise<number>;
  /** the same API on a Unix socket for whoever can open it */
  listenLocal(path: string): Promise<void>;
  /** after a renewal */
  renewCertificate(tls: TlsIdentity): void;
  close(): Promise<void>;
}

const SHARED_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'strict-transport-security': 'max-age=31536000',
};

/** Open streams are held against the present permissions this often (server.md §6.2). */
const RECHECK_MS = 5_000;

function fastifyPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1');
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

function etagOf(value: unknown): string {
  return `"${createHash('sha256').update(canonicalJson(value)).digest('base64url').slice(0, 22)}"`;
}

interface Identified {
  readonly requestId: string;
  readonly address: string;
  readonly startedAt: number;
}

class RestApp {
  readonly app: FastifyInstance;
  readonly local = new LocalSockets();
  readonly denials: AccessDenials;
  readonly #parts: RestParts;
  readonly #idempotency = new Idempotency();
  readonly #streams: EventStreams;
  readonly #perToken: RateLimit;
  readonly #perAddress: RateLimit;
  readonly #enrollPerAddress: RateLimit;
  readonly #enroll: RateLimit;
  readonly #identified = new WeakMap<FastifyRequest, Identified>();

  constructor(parts: RestParts, handlers: readonly Handler[]) {
    this.#parts = parts;
    this.denials = new AccessDenials({ store: parts.store, trail: parts.trail, log: parts.log });
    const { clock, identity } = parts;
    const { limits } = parts.settings;
    const now = () => clock.monotonic();
    this.#streams = new EventStreams(limits.sse_total, limits.sse_per_user);
    this.#perToken = new RateLimit(limits.api_per_token_per_s, limits.api_per_token_per_s * 4, now);
    this.#perAddress = new RateLimit(limits.api_per_ip_per_s, limits.api_per_ip_per_s * 4, now);
    this.#enrollPerAddress = new RateLimit(limits.enroll_per_ip_per_min / 60, limits.enroll_per_ip_per_min, now);
    this.#enroll = new RateLimit(limits.enroll_per_s, limits.enroll_per_s * 4, now);
    this.app = fastify({
      https: { ...restServerOptions(identity.rootCa, identity.tls), ...patience(limits) },
      bodyLimit: limits.rest_body,
      logger: false,
      requestTimeout: limits.body_timeout,
      connectionTimeout: 0,
      forceCloseConnections: true,
      routerOptions: { maxParamLength: 1100 },
    }) as unknown as FastifyInstance;
    this.#frame();
    const isPublic = ({ contract }: Handler) => contract.permission === 'public' || contract.permission === 'metrics';
    void this.app.register((scope, _options, done) => {
      for (const each of handlers.filter(isPublic)) this.#add(scope, each);
      done();
    });
    void this.app.register((scope, _options, done) => {
      for (const each of handlers.filter((one) => !isPublic(one))) this.#add(scope, each);
      done();
    });
  }

  /** What holds for every request: id, headers, error form, and that no route is without a permission. */
  #frame(): void {
    const { app } = this;
    app.addHook('onRoute', (route) => {
      const { permission } = (route.config ?? {}) as { permission?: unknown };
      if (!isRoutePermission(permission)) throw new Error(`the route ${String(route.method)} ${route.url} declares no permission`);
    });
    app.addHook('onRequest', (request, reply, done) => {
      const address = this.local.has(request.raw.socket) ? 'local' : (request.raw.socket.remoteAddress ?? '');
      const identified = { requestId: newId(this.#parts.clock.now()), address, startedAt: this.#parts.clock.monotonic() };
      this.#identified.set(request, identified);
      void reply.headers({ ...SHARED_HEADERS, 'x-request-id': identified.requestId });
      done();
    });
    app.addHook('onResponse', (request, reply, done) => {
      const route = request.routeOptions.url ?? 'unknown';
      const { metrics } = this.#parts;
      const seconds = (this.#parts.clock.monotonic() - (this.#identified.get(request)?.startedAt ?? 0)) / 1000;
      metrics.count('vigo_http_requests_total', 1, { route, method: request.method, status: reply.statusCode });
      metrics.observe('vigo_http_request_duration_seconds', seconds, { route });
      this.#parts.log.debug('request answered', {
        method: request.method,
        route,
        status: reply.statusCode,
        seconds,
        request_id: this.#identified.get(request)?.requestId,
      });
      done();
    });
    app.setErrorHandler((thrown, request, reply) => this.#fail(thrown, request, reply));
    app.setNotFoundHandler((request, reply) => this.#fail(new CodedError('NOT_FOUND', 'no such path'), request, reply));
  }

  #fail(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const error = toCoded(thrown);
    const requestId = this.#identified.get(request)?.requestId ?? '';
    if (error.code === 'INTERNAL')
      this.#parts.log.error('a request failed', {
        error: error.cause ?? error,
        request_id: requestId,
        method: request.method,
        url: request.url.slice(0, 200),
      });
    if (error.code === 'RATE_LIMITED')
      this.#parts.metrics.count('vigo_rate_limited_total', 1, { bucket: request.url.endsWith('/enroll') ? 'enroll' : 'other' });
    const problem = problemOf(error, { path: request.url.split('?')[0] ?? '', requestId });
    void reply.code(problem.status).headers(problem.headers).send(JSON.stringify(problem.body));
  }

  #add(scope: FastifyInstance, handler: Handler): void {
    const { contract } = handler;
    scope.route({
      method: contract.method,
      url: fastifyPath(contract.path),
      config: { permission: contract.permission } as Record<string, unknown>,
      exposeHeadRoute: false,
      // before the body is read: who is not let in sends no megabytes
      onRequest: async (request) => {
        (request as unknown as { principal: Principal }).principal = await this.#recorded(contract, request, () =>
          this.#admit(contract, request),
        );
      },
      handler: (request, reply) => this.#handle(handler, request, reply),
    });
  }

  async #admit(contract: RouteContract, request: FastifyRequest): Promise<Principal> {
    const { address } = this.#identified.get(request)!;
    const permission: RoutePermission = contract.permission;
    if (address !== 'local') {
      if (contract.name === 'enroll' || contract.name === 'spanner.join') {
        if (!isLoopback(address)) this.#enrollPerAddress.take(address);
        this.#enroll.take('all');
      } else this.#perAddress.take(address);
    }
    if (permission === 'public') return { ...NOBODY, address };
    if (permission === 'metrics' && this.#mayReadMetrics(address)) return { ...NOBODY, address };
    if (permission === 'agent') return authenticateAgent(request.raw, contract.method, address, this.#parts);
    const principal = await this.#permit(contract, request, address);
    if (principal.tokenId !== undefined) this.#perToken.take(principal.tokenId);
    return principal;
  }

  /** Who it is now, with the permission of the route. */
  async #permit({ permission }: RouteContract, request: FastifyRequest, address: string): Promise<Principal> {
    const principal = await authenticate(request.raw, address, { apiTokens: this.#parts.apiTokens, local: this.local });
    if (permission === 'metrics') requirePermission(principal, 'metrics.read');
    else if (permission !== 'signed-in' && permission !== 'public' && permission !== 'agent') requirePermission(principal, permission);
    return principal;
  }

  /** Whoever is turned away is recorded. */
  async #recorded(contract: RouteContract, request: FastifyRequest, admit: () => Promise<Principal>): Promise<Principal> {
    const { address, requestId } = this.#identified.get(request)!;
    try {
      return await admit();
    } catch (thrown) {
      // no credentials at all is a browser or a scanner, not an attempt
      const tried = request.headers.authorization !== undefined || this.local.has(request.raw.socket);
      if (thrown instanceof CodedError && (thrown.code === 'PERMISSION_DENIED' || (thrown.code === 'UNAUTHENTICATED' && tried))) {
        const permission = String(thrown.details?.['permission'] ?? '');
        const who = typeof thrown.details?.['user'] === 'string' ? thrown.details['user'] : '';
        this.denials.add({
          actor: { kind: 'user', id: who, name: who, address },
          code: thrown.code,
          route: contract.name,
          permission,
          requestId,
        });
      }
      throw thrown;
    }
  }

  /** By metrics.access; false: as any other route, by token. */
  #mayReadMetrics(address: string): boolean {
    const { enabled, access, networks } = this.#parts.settings.metrics;
    if (!enabled) throw new CodedError('NOT_FOUND', 'metrics are switched off', { hint: 'metrics.enabled' });
    return access === 'open' || (access === 'network' && isInNetworks(address, networks));
  }

  async #handle(handler: Handler, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const { contract } = handler;
    const { principal } = request as unknown as { principal: Principal };
    const { requestId, address } = this.#identified.get(request)!;
    const parsed = parseInput(contract, request);
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    let status = contract.status;
    const input: HandlerInput<unknown, unknown, unknown> = {
      ...parsed,
      principal,
      address,
      requestId,
      signal: gone.signal,
      status: (code) => {
        status = code;
      },
      header: (name, value) => void reply.header(name, value),
    };
    if (contract.needsMatch) await this.#requireMatch(handler, input, request);
    const answer = await this.#once(contract, input, request, async () => ({ body: await this.#answer(handler, input), status }));
    if (answer.replayed) void reply.header('idempotency-replayed', 'true');
    if (isAsyncIterable(answer.body)) return this.#stream(answer.body, contract, request, reply, gone);
    void reply.code(answer.replayed ? answer.status : status);
    if (contract.form === 'text') {
      if (reply.getHeader('content-type') === undefined) void reply.type('text/plain; charset=utf-8');
      return answer.body;
    }
    void reply.type('application/json; charset=utf-8');
    if (contract.method === 'GET') {
      const etag = etagOf(answer.body);
      void reply.header('etag', etag);
      if (request.headers['if-none-match'] === etag) return reply.code(304).send();
    }
    return JSON.stringify(answer.body);
  }

  async #answer(handler: Handler, input: HandlerInput<unknown, unknown, unknown>): Promise<unknown> {
    const answer = await handler.handle(input);
    if (isAsyncIterable(answer) || handler.contract.form === 'text') return answer;
    // replies are held to their contract, so that the page about them is true; what is not in it never leaves
    const checked = handler.contract.reply.safeParse(answer);
    if (!checked.success)
      throw new Error(`the reply of ${handler.contract.name} breaks its contract: ${checked.error.message.slice(0, 500)}`);
    return checked.data;
  }

  async #once(
    contract: RouteContract,
    input: HandlerInput<unknown, unknown, unknown>,
    request: FastifyRequest,
    work: () => Promise<{ body: unknown; status: number }>,
  ) {
    const key = request.headers['idempotency-key'];
    if (contract.needsKey && key === undefined)
      throw new CodedError('PRECONDITION_REQUIRED', 'an Idempotency-Key is needed', {
        hint: '16 to 64 characters, the same for a repetition',
      });
    // what is revealed is not kept, and every look at it is recorded
    if (
      contract.method !== 'POST' ||
      typeof key !== 'string' ||
      contract.permission === 'public' ||
      contract.permission === 'secrets.reveal'
    )
      return { ...(await work()), replayed: false };
    const { params, query, body } = input;
    return await this.#idempotency.once(
      { key, principal: input.principal.id, route: request.url, input: { params, query, body }, now: this.#parts.clock.now() },
      work,
    );
  }

  async #requireMatch(handler: Handler, input: HandlerInput<unknown, unknown, unknown>, request: FastifyRequest): Promise<void> {
    const match = request.headers['if-match'];
    const none = request.headers['if-none-match'];
    if (match === undefined && none === undefined)
      throw new CodedError('PRECONDITION_REQUIRED', 'If-Match is needed', { hint: 'the ETag of the last GET, or * for any' });
    if (match === '*') return;
    const current = await handler.current?.(input);
    const holds = none === '*' ? current === undefined : current !== undefined && match === etagOf(current);
    if (!holds) throw new CodedError('PRECONDITION_FAILED', 'the thing was changed meanwhile', { hint: 'look at it again' });
  }

  async #stream(
    source: AsyncIterable<unknown>,
    contract: RouteContract,
    request: FastifyRequest,
    reply: FastifyReply,
    gone: AbortController,
  ): Promise<FastifyReply> {
    const { principal } = request as unknown as { principal: Principal };
    const { requestId, address } = this.#identified.get(request)!;
    const leave = this.#streams.enter(principal.tokenId ?? principal.id);
    reply.hijack();
    // a token that was revoked, or a role that was taken, ends what is open too
    const recheck = setInterval(() => {
      this.#permit(contract, request, address).catch(() => {
        gone.abort();
        reply.raw.destroy();
      });
    }, RECHECK_MS);
    try {
      await writeEvents(reply.raw, { ...SHARED_HEADERS, 'x-request-id': requestId }, source);
    } finally {
      clearInterval(recheck);
      leave();
      if (!gone.signal.aborted) reply.raw.end();
    }
    return reply;
  }
}

/** Throws at once when any route lacks a permission. */
export async function createRestServer(parts: RestParts, handlers: readonly Handler[]): Promise<RestServer> {
  const rest = new RestApp(parts, handlers);
  await rest.app.ready();
  const main = rest.app.server as unknown as Server;
  limitConnections(main, parts.settings.limits);
  let local: Server | undefined;
  let localPath: string | undefined;
  return {
    async listen(host, port) {
      await rest.app.listen({ host, port });
      return (main.address() as AddressInfo).port;
    },
    async listenLocal(path) {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      chmodSync(dirname(path), 0o700);
      rmSync(path, { force: true });
      local = createServer(localServerOptions(parts.identity.tls), (request, response) => rest.app.routing(request, response));
      local.on('secureConnection', (socket: Socket) => rest.local.add(socket));
      await new Promise<void>((resolve, reject) => {
        local!.once('error', reject);
        local!.listen(path, resolve);
      });
      chmodSync(path, 0o600);
      localPath = path;
    },
    renewCertificate(tls) {
      main.setSecureContext(restServerOptions(parts.identity.rootCa, tls));
      local?.setSecureContext(localServerOptions(tls));
    },
    async close() {
      local?.closeAllConnections();
      await new Promise<void>((resolve) => (local === undefined ? resolve() : local.close(() => resolve())));
      if (localPath !== undefined) rmSync(localPath, { force: true });
      await rest.app.close();
      await rest.denials.stop();
    },
  };
}
