/** Shapes of the messages of agent.proto, field for field (snake_case as on the wire). Absent messages are null after decoding. */

export interface SignedRequest {
  payload: Uint8Array;
  signature: Uint8Array;
}

export interface SignedRecord {
  record: Uint8Array;
  signature: Uint8Array;
}

export interface SignedReply {
  payload: Uint8Array;
  signature: Uint8Array;
  key_id: string;
  delegation: SignedRecord | null;
}

export interface RequestHeader {
  fleet_id: Uint8Array;
  envoy_id: Uint8Array;
  audience: string;
  highest_epoch: number;
  owner_epoch: number;
  sequence: number;
  sent_at_ms: number;
}

export interface TraitsDeltaMessage {
  base_hash: Uint8Array;
  hash: Uint8Array;
  full: boolean;
  /** canonical JSON object */
  set: Uint8Array;
  removed: string[];
}

export interface CheckInRequest {
  header: RequestHeader | null;
  protocol: number;
  capabilities: string[];
  release: number;
  body_schema: number;
  policy_hash: Uint8Array;
  held_header_hash: Uint8Array;
  held_seq: number;
  secrets_epoch: number;
  traits: TraitsDeltaMessage | null;
  pending_results: number;
  mode: string;
  flags: string[];
  newest_checkpoint: Uint8Array;
  known_keys: string[];
  directive_hash: Uint8Array;
  renew: boolean;
  agent_version: string;
  bundle_rejected: string;
}

export interface Directive {
  next_ms: number;
  keep_connection: boolean;
  trait_refresh_full: boolean;
  server_time_ms: number;
  jitter_pct: number;
  checkpoint: SignedRecord | null;
}

export interface CheckInReply {
  no_change?: { head: SignedRecord; key_id: string };
  signed?: SignedReply;
  wait?: { retry_after_s: number };
  directive: Directive | null;
}

export interface SignedAnswer {
  envoy_id: Uint8Array;
  sequence: number;
  kind: string;
  header: SignedRecord | null;
  body: Uint8Array;
  body_sha256: string;
  body_len: number;
  /** canonical JSON: the authoritative directive */
  authority: Uint8Array;
}

export interface ReportMessage {
  subject: string;
  run_id: string;
  report: Uint8Array;
}

export interface ReportResultsRequest {
  header: RequestHeader | null;
  reports: ReportMessage[];
  heartbeat_hash: Uint8Array;
  heartbeat_body_hash: Uint8Array;
}

export interface ReportResultsReply {
  results: string[];
}

export interface ResolveSecretsRequest {
  header: RequestHeader | null;
  body_sha256: Uint8Array;
  refs: string[];
  nonce: Uint8Array;
}

export interface SealedSecrets {
  envoy_id: Uint8Array;
  sequence: number;
  enc: Uint8Array;
  ct: Uint8Array;
  secrets_epoch: number;
  nonce: Uint8Array;
}

export interface ErrorDetail {
  code: string;
  message: string;
  hint: string;
  retryable: string;
  retry_after_s: number;
  details: string;
  server_time_ms: number;
}

export interface RenewPayload {
  header: RequestHeader | null;
  content_hash: Uint8Array;
}

export interface HttpPayload {
  header: RequestHeader | null;
  method: string;
  path: string;
  body_hash: Uint8Array;
}

/** A piece of a message between hub and spoke. */
export interface LinkFrame {
  readonly id: number;
  readonly reply_to: number;
  readonly kind: string;
  readonly deadline_ms: number;
  readonly chunk: number;
  readonly end: boolean;
  readonly error: boolean;
  readonly body: Uint8Array;
  readonly data: Uint8Array;
}
