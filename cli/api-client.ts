/** Calls any route of the API over HTTPS, or over the local socket with TLS and the name `localhost`. */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Agent, type RequestOptions, request } from 'node:https';
import type { z } from 'zod';
import type { RouteContract } from '../core/api/route.ts';
import { CodedError, isErrorCode } from '../core/base/errors.ts';
import { isPlainObject } from '../core/base/json.ts';
import { clientOptions } from '../core/crypto/tls.ts';
import type { Connection } from './settings.ts';

const MAX_REPLY = 64 * 1024 * 1024;

export interface CallOptions<P, Q, B> {
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** default `*`: whatever it is now */
  readonly ifMatch?: string;
}

export interface ApiClient {
  call<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
    contract: RouteContract<P, Q, B, R>,
    options?: CallOptions<z.input<P>, z.input<Q>, z.input<B>>,
  ): Promise<z.output<R>>;
  /** server-sent events until the server ends them or the signal aborts */
  events<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
    contract: RouteContract<P, Q, B, R>,
    options?: CallOptions<z.input<P>, z.input<Q>, z.input<B>>,
  ): AsyncIterable<z.output<R>>;
  readonly connection: Connection;
  close(): void;
}

function pathOf(contract: RouteContract, options: CallOptions<unknown, unknown, unknown>): string {
  const params = (options.params ?? {}) as Readonly<Record<string, unknown>>;
  const path = contract.path.replace(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(String(params[name])));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries((options.query ?? {}) as object)) if (value !== undefined) query.set(name, String(value));
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}

/** The problem+json of a reply as the error it was. */
export function errorOf(status: number, body: string): CodedError {
  let problem: unknown;
  try {
    problem = JSON.parse(body);
  } catch {
    // not from this API: a proxy's page, say
    problem = undefined;
  }
  if (!isPlainObject(problem) || typeof problem['code'] !== 'string' || !isErrorCode(problem['code']))
    return new CodedError(status >= 500 ? 'UNREACHABLE' : 'BAD_REQUEST', `the server answered ${status} without a reason`, {
      hint: 'is it a vigo server of this version?',
    });
  const { code, detail, hint, request_id: requestId, retry_after_s: retryAfter } = problem;
  const shownHint =
    typeof hint === 'string' ? hint : code === 'INTERNAL' ? `the server's log has more under ${String(requestId)}` : undefined;
  return new CodedError(code, String(detail), {
    hint: shownHint,
    details: problem,
    retryAfterSeconds: typeof retryAfter === 'number' ? retryAfter : undefined,
  });
}

function unreachable(connection: Connection, cause: unknown): CodedError {
  const where = connection.target.kind === 'socket' ? connection.target.path : connection.target.url.origin;
  const { code } = cause as NodeJS.ErrnoException;
  const isTrust = /CERT|SELF_SIGNED|UNABLE_TO|ALTNAME/.test(code ?? '');
  const { missedSocket } = connection;
  // whoever named a data directory, or stands on the server host, meant the socket and not whatever listens on 8443
  const local =
    missedSocket === undefined ? '' : `; ${missedSocket} cannot be opened: its server is not running or belongs to another user`;
  const hint = isTrust
    ? 'the certificate does not fit: give the root CA of the fleet with --ca-file'
    : 'is the server running, and is --server right?';
  return new CodedError('UNREACHABLE', `no connection to ${where}: ${(cause as Error).message}`, { cause, hint: `${hint}${local}` });
}

async function readAll(reply: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of reply as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_REPLY) throw new CodedError('TOO_LARGE', 'the answer is larger than 64 MiB', { hint: 'ask for less with --limit' });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** @param trace takes `METHOD path → status` of every request, without bodies */
export function createApiClient(
  connection: Connection,
  options: { readonly signal: AbortSignal; readonly claimedBy?: string | undefined; trace?(line: string): void },
): ApiClient {
  const { target } = connection;
  const agent = new Agent({ keepAlive: true, maxSockets: 4, ...clientOptions(connection.ca) });

  function send(contract: RouteContract, call: CallOptions<unknown, unknown, unknown>, timeoutMs: number): Promise<IncomingMessage> {
    const path = pathOf(contract, call);
    const body = contract.method === 'GET' || contract.method === 'DELETE' ? undefined : JSON.stringify(call.body ?? {});
    const headers: Record<string, string> = { accept: contract.form === 'events' ? 'text/event-stream' : 'application/json' };
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (connection.token !== undefined && contract.permission !== 'public') headers['authorization'] = `Bearer ${connection.token}`;
    if (target.kind === 'socket' && options.claimedBy !== undefined) headers['x-vigo-claimed-by'] = options.claimedBy;
    if (contract.needsMatch) headers['if-match'] = call.ifMatch ?? '*';
    if (contract.needsKey) headers['idempotency-key'] = randomBytes(16).toString('hex');
    const where: RequestOptions =
      target.kind === 'socket'
        ? { socketPath: target.path, servername: 'localhost', host: 'localhost' }
        : { host: target.url.hostname.replace(/^\[|\]$/g, ''), port: target.url.port === '' ? 443 : Number(target.url.port) };
    const attempt = (resolve: (reply: IncomingMessage) => void, reject: (error: unknown) => void): void => {
      const outgoing = request({ ...where, agent, method: contract.method, path, headers, signal: options.signal, timeout: timeoutMs });
      let answered = false;
      outgoing.once('timeout', () => outgoing.destroy(new Error(`no answer within ${Math.round(timeoutMs / 1000)} s`)));
      // stays on: an abort after the answer has begun is told here too
      outgoing.on('error', (cause: NodeJS.ErrnoException) => {
        // the server ended an idle connection in the moment we took it again: it has read nothing of this
        if (outgoing.reusedSocket && !answered && (cause.code === 'ECONNRESET' || cause.code === 'EPIPE')) attempt(resolve, reject);
        else reject(unreachable(connection, cause));
      });
      outgoing.once('response', (reply) => {
        answered = true;
        options.trace?.(`${contract.method} ${path} -> ${reply.statusCode}`);
        resolve(reply);
      });
      outgoing.end(body);
    };
    return new Promise(attempt);
  }

  return {
    connection,
    async call(contract, call = {}) {
      const reply = await send(contract as unknown as RouteContract, call, connection.timeoutMs);
      const text = await readAll(reply).catch((cause: unknown) => {
        throw cause instanceof CodedError ? cause : unreachable(connection, cause);
      });
      const status = reply.statusCode ?? 0;
      // readyz answers 503 with its reasons
      if (status >= 300 && !(contract.name === 'server.readyz' && status === 503)) throw errorOf(status, text);
      if (contract.form === 'text') return text as never;
      const parsed = contract.reply.safeParse(JSON.parse(text));
      if (!parsed.success)
        throw new CodedError('PROTOCOL_TOO_OLD', 'the answer of the server does not fit this vigocli', {
          hint: 'vigocli version shows both versions',
          cause: parsed.error,
        });
      return parsed.data;
    },
    async *events(contract, call = {}) {
      const reply = await send(contract as unknown as RouteContract, call, 0);
      const status = reply.statusCode ?? 0;
      if (status >= 300) throw errorOf(status, await readAll(reply));
      for await (const { event, data } of withCode(connection, readEvents(reply))) {
        if (event !== 'end') {
          yield contract.reply.parse(JSON.parse(data));
          continue;
        }
        const ended: unknown = JSON.parse(data);
        if (isPlainObject(ended) && ended['status'] === 'failed') throw errorOf(500, data);
        return;
      }
      throw new CodedError('UNREACHABLE', 'the stream broke off');
    },
    close: () => agent.destroy(),
  };
}

/** A connection that breaks off is told like one that never was. */
async function* withCode<T>(connection: Connection, source: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* source;
  } catch (cause) {
    throw cause instanceof CodedError ? cause : unreachable(connection, cause);
  }
}

async function* readEvents(reply: IncomingMessage): AsyncIterable<{ event: string; data: string }> {
  let held = '';
  reply.setEncoding('utf8');
  for await (const chunk of reply as AsyncIterable<string>) {
    held += chunk;
    for (let end = held.indexOf('\n\n'); end >= 0; end = held.indexOf('\n\n')) {
      const lines = held.slice(0, end).split('\n');
      held = held.slice(end + 2);
      const of = (name: string) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      const data = of('data').join('\n');
      if (data !== '') yield { event: of('event')[0] ?? 'message', data };
    }
    if (held.length > MAX_REPLY) throw new CodedError('TOO_LARGE', 'an event of the stream is too large');
  }
}
