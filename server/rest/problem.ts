/** Errors at the REST edge: problem+json (RFC 9457), without stacks and without the text of unexpected errors. */
import { CodedError, ERROR_CODES, type ErrorCode } from '../../core/base/errors.ts';

export interface ProblemReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

const FASTIFY_CODES: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'UNSUPPORTED_MEDIA',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'BAD_REQUEST',
  FST_ERR_CTP_INVALID_JSON_BODY: 'BAD_REQUEST',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'BAD_REQUEST',
  FST_ERR_BAD_URL: 'BAD_REQUEST',
};

/** Anything thrown as a coded error; what is not expected becomes INTERNAL without its text. */
export function toCoded(thrown: unknown): CodedError {
  if (thrown instanceof CodedError) return thrown;
  const { code, statusCode } = thrown as { code?: unknown; statusCode?: unknown };
  const known = typeof code === 'string' && Object.hasOwn(FASTIFY_CODES, code) ? FASTIFY_CODES[code] : undefined;
  if (known !== undefined) return new CodedError(known, ERROR_CODES[known].meaning, { cause: thrown });
  // what fastify itself refuses (broken JSON, `__proto__` in a body)
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500)
    return new CodedError('BAD_REQUEST', 'the request cannot be read', { cause: thrown });
  return new CodedError('INTERNAL', 'internal failure', { cause: thrown });
}

function cut(text: string): string {
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}

export function problemOf(error: CodedError, request: { readonly path: string; readonly requestId: string }): ProblemReply {
  const row = ERROR_CODES[error.code];
  const status = row.http ?? 500;
  const retryAfter = error.retryAfterSeconds ?? (row.retry === 'backoff' && status >= 429 ? 1 : undefined);
  return {
    status,
    headers: {
      'content-type': 'application/problem+json; charset=utf-8',
      ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
    },
    body: {
      ...error.details,
      type: `urn:vigo:error:${error.code}`,
      title: row.meaning,
      status,
      detail: cut(error.message),
      instance: request.path.slice(0, 200),
      code: error.code,
      ...(error.hint === undefined ? {} : { hint: cut(error.hint) }),
      retryable: row.retry !== 'no',
      ...(retryAfter === undefined ? {} : { retry_after_s: retryAfter }),
      request_id: request.requestId,
    },
  };
}
