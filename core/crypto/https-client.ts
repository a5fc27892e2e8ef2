/** Small HTTPS requests with pinned trust, shared by agent and command line: JSON in, JSON or bytes out. */
import { request as httpsRequest } from 'node:https';
import { CodedError, isErrorCode, messageOf } from '../base/errors.ts';
import { clientOptions, type TlsIdentity } from './tls.ts';

export interface HttpsRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  readonly rootCa: string | undefined;
  readonly identity?: TlsIdentity | undefined;
  /** instead of host and port; the certificate must then name `localhost` */
  readonly socketPath?: string | undefined;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpsReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** @throws CodedError UNREACHABLE, DEADLINE, TOO_LARGE; HTTP errors are replies */
export function httpsCall(wanted: HttpsRequest): Promise<HttpsReply> {
  return new Promise((resolve, reject) => {
    const { url } = wanted;
    const call = httpsRequest({
      ...clientOptions(wanted.rootCa, wanted.identity),
      ...(wanted.socketPath === undefined
        ? { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? 443 : Number(url.port) }
        : { socketPath: wanted.socketPath, servername: 'localhost' }),
      method: wanted.method,
      path: `${url.pathname}${url.search}`,
      headers: { ...wanted.headers, ...(wanted.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(wanted.body)) }) },
      agent: false,
      ...(wanted.signal === undefined ? {} : { signal: wanted.signal }),
    });
    const timer = setTimeout(
      () => call.destroy(new CodedError('DEADLINE', `no answer from ${url.host} within ${wanted.timeoutMs} ms`)),
      wanted.timeoutMs,
    );
    call.once('error', (cause) => {
      clearTimeout(timer);
      reject(
        cause instanceof CodedError
          ? cause
          : new CodedError('UNREACHABLE', `cannot reach ${wanted.socketPath ?? url.host}: ${messageOf(cause)}`, { cause }),
      );
    });
    call.once('response', (response) => {
      const parts: Buffer[] = [];
      let size = 0;
      response.on('data', (part: Buffer) => {
        size += part.length;
        if (size > wanted.maxBytes)
          call.destroy(new CodedError('TOO_LARGE', `the answer of ${url.host} is above ${wanted.maxBytes} bytes`));
        else parts.push(part);
      });
      response.once('end', () => {
        clearTimeout(timer);
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) });
      });
    });
    call.end(wanted.body);
  });
}

/** The error of a problem+json reply (server.md §6.1). */
export function problemOf(reply: HttpsReply): CodedError {
  let problem: Record<string, unknown> = {};
  try {
    problem = JSON.parse(reply.body.toString('utf8')) as Record<string, unknown>;
  } catch {
    // not problem+json: the status alone is told
  }
  const code = typeof problem['code'] === 'string' && isErrorCode(problem['code']) ? problem['code'] : 'INTERNAL';
  const text =
    typeof problem['detail'] === 'string'
      ? problem['detail']
      : typeof problem['title'] === 'string'
        ? problem['title']
        : `the server answered with status ${reply.status}`;
  return new CodedError(code, text, {
    hint: typeof problem['hint'] === 'string' ? problem['hint'] : undefined,
    retryAfterSeconds: typeof problem['retry_after_s'] === 'number' ? problem['retry_after_s'] : undefined,
    details: problem,
  });
}
