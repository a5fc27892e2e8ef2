/** Errors at the gRPC edge: code → status and the `vigo-error-bin` trailer. The only user of gRPC statuses. */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { CodedError, ERROR_CODES, GRPC_STATUS, isErrorCode } from '../../core/base/errors.ts';
import { codecs, ERROR_TRAILER } from '../../proto/load.ts';
import type { WireFault } from './messages.ts';

/** Anything thrown, without stack and without the text of unexpected errors. */
export function toFault(thrown: unknown): WireFault {
  if (thrown instanceof CodedError)
    return {
      code: thrown.code,
      message: thrown.message,
      hint: thrown.hint,
      retryAfterSeconds: thrown.retryAfterSeconds,
      details: thrown.details,
    };
  return { code: 'INTERNAL', message: 'internal failure' };
}

export function fromFault(fault: WireFault): CodedError {
  return new CodedError(isErrorCode(fault.code) ? fault.code : 'INTERNAL', fault.message, {
    hint: fault.hint,
    retryAfterSeconds: fault.retryAfterSeconds,
    details: fault.details,
  });
}

export function toServiceError(thrown: unknown, now: number): Partial<ServiceError> {
  const fault = toFault(thrown);
  const row = isErrorCode(fault.code) ? ERROR_CODES[fault.code] : ERROR_CODES.INTERNAL;
  const metadata = new Metadata();
  metadata.set(
    ERROR_TRAILER,
    codecs.errorDetail.encode({
      code: fault.code,
      message: fault.message.slice(0, 500),
      hint: fault.hint ?? '',
      retryable: row.retry,
      retry_after_s: fault.retryAfterSeconds ?? 0,
      details: fault.details === undefined ? '' : JSON.stringify(fault.details),
      server_time_ms: now,
    }),
  );
  return { code: (GRPC_STATUS[row.grpc] ?? status.INTERNAL) as status, details: fault.code, metadata };
}

/** A bug rather than an answer: the thread that met it logs it. */
export function isUnexpected(thrown: unknown): boolean {
  return !(thrown instanceof CodedError) || thrown.code === 'INTERNAL';
}
