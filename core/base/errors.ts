/** The one error class and the one table of error codes (docs/reference/errors.md): edges translate with it, nothing else knows statuses. */
import type { SourceLocation } from './problem.ts';

/** How a caller may repeat: never, after back-off, with a freshly signed request, or at another server. */
export type Retry = 'no' | 'backoff' | 'fresh' | 'elsewhere';

interface ErrorRow {
  readonly grpc: GrpcStatus;
  /** null: local only, never sent over HTTP */
  readonly http: number | null;
  readonly retry: Retry;
  /** exit code of the command line */
  readonly exit: number;
  readonly meaning: string;
}

type GrpcStatus = keyof typeof GRPC_STATUS;

/** Status numbers of gRPC (grpc/doc/statuscodes.md). */
export const GRPC_STATUS = {
  OK: 0,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

// biome-ignore format: one row a code reads as a table
export const ERROR_CODES = {
  BAD_REQUEST: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'no', exit: 2, meaning: 'schema violation' },
  TOO_LARGE: { grpc: 'RESOURCE_EXHAUSTED', http: 413, retry: 'no', exit: 1, meaning: 'message, body or field above its limit' },
  UNSUPPORTED_MEDIA: { grpc: 'INVALID_ARGUMENT', http: 415, retry: 'no', exit: 2, meaning: 'content type' },
  UNIMPLEMENTED: { grpc: 'UNIMPLEMENTED', http: 501, retry: 'no', exit: 1, meaning: 'unknown method, kind or capability' },
  PROTOCOL_TOO_OLD: { grpc: 'FAILED_PRECONDITION', http: 426, retry: 'no', exit: 1, meaning: 'more than one release apart' },
  UNAUTHENTICATED: { grpc: 'UNAUTHENTICATED', http: 401, retry: 'no', exit: 6, meaning: 'nobody, or bad credentials' },
  AMBIGUOUS_AUTH: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'no', exit: 1, meaning: 'two authentication methods at once' },
  SESSION_EXPIRED: { grpc: 'UNAUTHENTICATED', http: 401, retry: 'no', exit: 6, meaning: 'sign in again' },
  TOTP_REQUIRED: { grpc: 'UNAUTHENTICATED', http: 401, retry: 'no', exit: 6, meaning: 'second factor missing' },
  ACCOUNT_LOCKED: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'backoff', exit: 6, meaning: 'too many failures' },
  CSRF_FAILED: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'token or origin' },
  PERMISSION_DENIED: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'names the missing permission' },
  OUT_OF_SCOPE: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'write outside the scope (reads answer NOT_FOUND)' },
  AMBIGUOUS_NAME: { grpc: 'INVALID_ARGUMENT', http: 409, retry: 'no', exit: 2, meaning: 'several matches, listed' },
  PRECONDITION_REQUIRED: { grpc: 'FAILED_PRECONDITION', http: 428, retry: 'no', exit: 4, meaning: 'If-Match or idempotency key missing' },
  PRECONDITION_FAILED: { grpc: 'ABORTED', http: 412, retry: 'fresh', exit: 4, meaning: 'ETag differs' },
  IDEMPOTENCY_MISMATCH: { grpc: 'ALREADY_EXISTS', http: 409, retry: 'no', exit: 1, meaning: 'same key, other body' },
  CURSOR_EXPIRED: { grpc: 'INVALID_ARGUMENT', http: 410, retry: 'no', exit: 1, meaning: 'start again' },
  OVERLOADED: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', exit: 5, meaning: 'budget used up; retry_after_s' },
  NOT_READY: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', exit: 5, meaning: 'start not finished, no release' },
  INTERNAL: { grpc: 'INTERNAL', http: 500, retry: 'backoff', exit: 5, meaning: 'bug; request id only' },
  INCOMPLETE: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', exit: 8, meaning: 'completeness was required' },
  STORE_UNAVAILABLE: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', exit: 5, meaning: 'database locked or down' },
  STORE_FULL: { grpc: 'RESOURCE_EXHAUSTED', http: 507, retry: 'backoff', exit: 5, meaning: 'disk' },
  BAD_SIGNATURE: { grpc: 'UNAUTHENTICATED', http: 401, retry: 'no', exit: 6, meaning: 'request signature' },
  IDENTITY_MISMATCH: { grpc: 'UNAUTHENTICATED', http: 401, retry: 'no', exit: 6, meaning: 'certificate and signature name different envoys' },
  CERTIFICATE_INVALID: { grpc: 'UNAUTHENTICATED', http: 401, retry: 'no', exit: 6, meaning: 'not of this fleet, or expired (renew)' },
  WEAK_KEY: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'no', exit: 1, meaning: 'small-order or non-canonical' },
  REPLAYED: { grpc: 'ABORTED', http: 409, retry: 'fresh', exit: 1, meaning: 'sequence used; audited' },
  CLOCK_SKEW: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'fresh', exit: 1, meaning: 'reply holds server time' },
  RETRY_FRESH: { grpc: 'ABORTED', http: 409, retry: 'fresh', exit: 1, meaning: 'signed before the server\'s start' },
  WRONG_AUDIENCE: { grpc: 'FAILED_PRECONDITION', http: 421, retry: 'elsewhere', exit: 1, meaning: 'another site' },
  REVOKED: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'signed; envoy, server or spoke' },
  RETRY_ELSEWHERE: { grpc: 'UNAVAILABLE', http: 421, retry: 'elsewhere', exit: 1, meaning: 'unknown here, perhaps not yet' },
  REDIRECT: { grpc: 'FAILED_PRECONDITION', http: 421, retry: 'elsewhere', exit: 1, meaning: 'signed, with the owner' },
  NOT_ENROLLED: { grpc: 'UNAUTHENTICATED', http: 401, retry: 'no', exit: 6, meaning: 'id never known to the fleet (hub only says this)' },
  STALE_EPOCH: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'elsewhere', exit: 4, meaning: 'sender\'s epoch lower' },
  FENCED: { grpc: 'FAILED_PRECONDITION', http: 503, retry: 'elsewhere', exit: 4, meaning: 'this server knows a higher epoch; read-only' },
  TOKEN_UNKNOWN: { grpc: 'UNAUTHENTICATED', http: 401, retry: 'no', exit: 6, meaning: 'also wrong secret' },
  TOKEN_ALREADY_SPENT: { grpc: 'ALREADY_EXISTS', http: 409, retry: 'no', exit: 1, meaning: 'other keys than the first use' },
  TOKEN_HOSTNAME_MISMATCH: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'glob does not fit; token stays unspent' },
  HOSTNAME_INVALID: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'no', exit: 1, meaning: 'not RFC 1123, or above 253 bytes' },
  HOSTNAME_TAKEN: { grpc: 'ALREADY_EXISTS', http: 409, retry: 'no', exit: 1, meaning: 'live envoy; needs old key or admin' },
  ALREADY_ENROLLED: { grpc: 'ALREADY_EXISTS', http: 409, retry: 'no', exit: 1, meaning: 'local, agent CLI' },
  CA_PIN_REQUIRED: { grpc: 'UNAUTHENTICATED', http: null, retry: 'no', exit: 6, meaning: 'local, agent CLI; fails closed' },
  CA_PIN_MISMATCH: { grpc: 'UNAUTHENTICATED', http: null, retry: 'no', exit: 6, meaning: 'local, agent CLI; fails closed' },
  ENROLLMENT_PENDING: { grpc: 'UNAVAILABLE', http: 202, retry: 'backoff', exit: 1, meaning: 'waits for an admin' },
  NO_ROUTE: { grpc: 'NOT_FOUND', http: 404, retry: 'no', exit: 7, meaning: 'no spoke pattern' },
  SPOKE_DRAINING: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'elsewhere', exit: 4, meaning: 'no enrolments, no long tasks' },
  ASK_HUB: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'no', exit: 4, meaning: 'command belongs to the hub' },
  HUB_BEHIND: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', exit: 5, meaning: 'restored hub catches up first' },
  MOVE_CONFLICT: { grpc: 'ABORTED', http: 409, retry: 'backoff', exit: 4, meaning: 'envoy already moving' },
  DRAIN_NOT_EMPTY: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'no', exit: 4, meaning: 'observed envoys or pending results > 0' },
  NOT_PRIMARY: { grpc: 'FAILED_PRECONDITION', http: 421, retry: 'elsewhere', exit: 4, meaning: 'reply names the primary' },
  PEER_BEHIND: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'no', exit: 4, meaning: '--accept-loss text needed' },
  PEER_DIVERGED: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'no', exit: 4, meaning: 'snapshot or rejoin needed' },
  RETRY_NOT_REPLICATED: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', exit: 5, meaning: 'peer did not confirm in time' },
  VALIDATION_FAILED: { grpc: 'FAILED_PRECONDITION', http: 422, retry: 'no', exit: 1, meaning: 'findings[]' },
  APPROVAL_REFUSED: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'APPR-1..5' },
  RELEASE_INVALID: { grpc: 'DATA_LOSS', http: 500, retry: 'no', exit: 6, meaning: 'manifest, hash or signature' },
  STAGE_CHANGED: { grpc: 'ABORTED', http: 409, retry: 'fresh', exit: 4, meaning: 'root differs' },
  SECRET_DENIED: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'not in this envoy\'s bundle' },
  SECRETS_UNAVAILABLE: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', exit: 5, meaning: 'provider down' },
  GUARDRAIL: { grpc: 'PERMISSION_DENIED', http: 422, retry: 'no', exit: 6, meaning: 'self-protection; no override exists' },
  CONFIRM_COUNT: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'no', exit: 4, meaning: 'number of targets must be confirmed' },
  TARGET_SYNTAX: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'no', exit: 2, meaning: 'position shown' },
  TASK_DENIED: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'deny list, ad-hoc off' },
  TASK_EXPIRED: { grpc: 'DEADLINE_EXCEEDED', http: 410, retry: 'no', exit: 1, meaning: 'arrived after its deadline; not run' },
  QUERY_NOT_ALLOWED: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'command not in the allow-list' },
  HOST_KEY_CHANGED: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'no', exit: 1, meaning: 'hard stop until repin' },
  DEVICE_BUSY: { grpc: 'ABORTED', http: 409, retry: 'backoff', exit: 1, meaning: 'lock held' },
  NOT_YOUR_DEVICE: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'lease with another gateway' },
  COMMIT_REVERTED: { grpc: 'ABORTED', http: 409, retry: 'no', exit: 1, meaning: 'confirm failed, old configuration back' },
  CONSENT_REFUSED: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'desktop session' },
  CONSENT_TIMEOUT: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'desktop session' },
  TUNNEL_TIMEOUT: { grpc: 'DEADLINE_EXCEEDED', http: 504, retry: 'backoff', exit: 5, meaning: 'agent opened no tunnel' },
  AUDIT_BROKEN: { grpc: 'DATA_LOSS', http: 500, retry: 'no', exit: 1, meaning: 'tree does not verify; writes stop' },
  KEY_FILE_PERMISSIONS: { grpc: 'FAILED_PRECONDITION', http: null, retry: 'no', exit: 6, meaning: 'start-up only' },
  SETTINGS_INVALID: { grpc: 'FAILED_PRECONDITION', http: null, retry: 'no', exit: 3, meaning: 'start-up only' },
  DATA_DIR_LOCKED: { grpc: 'FAILED_PRECONDITION', http: null, retry: 'no', exit: 4, meaning: 'start-up only' },
  ACCOUNT_DISABLED: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'no', exit: 6, meaning: 'the account is disabled' },
  RATE_LIMITED: { grpc: 'RESOURCE_EXHAUSTED', http: 429, retry: 'backoff', exit: 1, meaning: 'too many requests' },
  SHUTTING_DOWN: { grpc: 'UNAVAILABLE', http: 503, retry: 'elsewhere', exit: 5, meaning: 'the server is stopping' },
  DEADLINE: { grpc: 'DEADLINE_EXCEEDED', http: 504, retry: 'backoff', exit: 5, meaning: 'it took too long' },
  TOKEN_EXPIRED: { grpc: 'FAILED_PRECONDITION', http: 410, retry: 'no', exit: 1, meaning: 'the enrolment token is past its lifetime' },
  TOKEN_REVOKED: { grpc: 'FAILED_PRECONDITION', http: 410, retry: 'no', exit: 1, meaning: 'the enrolment token was revoked' },
  KEY_ALREADY_ENROLLED: { grpc: 'ALREADY_EXISTS', http: 409, retry: 'no', exit: 1, meaning: 'this public key was enrolled before' },
  BAD_PROOF: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'no', exit: 1, meaning: 'the identity key did not sign the enrolment request' },
  BAD_CSR: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'no', exit: 1, meaning: 'the certificate signing request is not usable' },
  SPOKE_UNAVAILABLE: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', exit: 5, meaning: 'the spoke cannot be reached' },
  DUPLICATE_SPOKE: { grpc: 'ALREADY_EXISTS', http: 409, retry: 'no', exit: 4, meaning: 'a spoke of this id exists' },
  FROZEN: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'backoff', exit: 4, meaning: 'publishing is frozen' },
  PUBLISH_BUSY: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'backoff', exit: 4, meaning: 'another publish is running' },
  SECRET_MISSING: { grpc: 'NOT_FOUND', http: 404, retry: 'no', exit: 7, meaning: 'no secret at this path' },
  NO_TARGETS: { grpc: 'NOT_FOUND', http: 404, retry: 'no', exit: 7, meaning: 'the target matches nobody' },
  DEVICE_UNREACHABLE: { grpc: 'UNAVAILABLE', http: 502, retry: 'backoff', exit: 5, meaning: 'the device does not answer' },
  DEVICE_AUTH_FAILED: { grpc: 'UNAVAILABLE', http: 502, retry: 'backoff', exit: 6, meaning: 'the device refuses the credential' },
  LAST_ADMIN: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'no', exit: 4, meaning: 'the last enabled admin stays' },
  BUILT_IN: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'no', exit: 4, meaning: 'built-in things cannot be changed' },
  STILL_ACTIVE: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'no', exit: 4, meaning: 'only revoked envoys can be deleted' },
  NOT_FOUND: { grpc: 'NOT_FOUND', http: 404, retry: 'no', exit: 7, meaning: 'no such thing' },
  ALREADY_EXISTS: { grpc: 'ALREADY_EXISTS', http: 409, retry: 'no', exit: 4, meaning: 'it exists already' },
  USAGE: { grpc: 'INVALID_ARGUMENT', http: null, retry: 'no', exit: 2, meaning: 'local: wrong words on the command line' },
  COMMAND_FAILED: { grpc: 'INTERNAL', http: null, retry: 'no', exit: 1, meaning: 'local: a command ended with another exit code than wanted' },
  EVAL_ERROR: { grpc: 'INVALID_ARGUMENT', http: null, retry: 'no', exit: 1, meaning: 'local: a template or a condition could not be evaluated' },
  BLOCKED: { grpc: 'FAILED_PRECONDITION', http: null, retry: 'no', exit: 1, meaning: 'local: the surroundings of a resource stand in the way' },
  UNSUPPORTED: { grpc: 'UNIMPLEMENTED', http: null, retry: 'no', exit: 1, meaning: 'local: this platform has no backend for it' },
  BUNDLE_REJECTED: { grpc: 'DATA_LOSS', http: null, retry: 'no', exit: 1, meaning: 'local: a signed bundle, head or delegation does not hold' },
  STATE_DAMAGED: { grpc: 'DATA_LOSS', http: null, retry: 'no', exit: 7, meaning: 'local: a state store or database file is damaged' },
  UNREACHABLE: { grpc: 'UNAVAILABLE', http: null, retry: 'backoff', exit: 5, meaning: 'local: no server answered' },
  LOCK_BUSY: { grpc: 'ABORTED', http: null, retry: 'backoff', exit: 3, meaning: 'local: the run lock was not obtained in time' },
  NO_POLICY: { grpc: 'FAILED_PRECONDITION', http: null, retry: 'no', exit: 4, meaning: 'local: nothing is cached and the server names no policy' },
  LISTEN_FAILED: { grpc: 'UNAVAILABLE', http: null, retry: 'no', exit: 8, meaning: 'local: a port is taken or a certificate is unusable' },
  DATABASE_FAILED: { grpc: 'UNAVAILABLE', http: null, retry: 'no', exit: 7, meaning: 'local: the database does not open or migrate' },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface CodedErrorDetails {
  /** what to do about it */
  readonly hint?: string | undefined;
  readonly at?: SourceLocation | undefined;
  readonly cause?: unknown;
  readonly retryAfterSeconds?: number | undefined;
  /** machine-readable extras, never secret: travel as `details` of gRPC and as extra members of problem+json */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** An error with a code of {@link ERROR_CODES}. Message: lower-case start, no full stop, says what and which. */
export class CodedError extends Error {
  override readonly name = 'CodedError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly at: SourceLocation | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, more: CodedErrorDetails = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.hint = more.hint;
    this.at = more.at;
    this.retryAfterSeconds = more.retryAfterSeconds;
    this.details = more.details;
  }
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_CODES, text);
}

/** The message of anything thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
