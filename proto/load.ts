/** Loads the definitions once, and gives a typed codec for each message; the only user of protobufjs. */
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import type * as wire from './messages.ts';

/** Sequence numbers and times are JavaScript numbers: whatever is above 2^53-1 is refused by {@link Codec.decode}. */
const definition = new protobuf.Root();
protobuf.parse(readFileSync(new URL('./vigo/v1/agent.proto', import.meta.url), 'utf8'), definition, { keepCase: true });
protobuf.parse(readFileSync(new URL('./vigo/v1/spanner.proto', import.meta.url), 'utf8'), definition, { keepCase: true });

export interface Codec<T> {
  encode(message: Partial<T>): Buffer;
  /** Absent fields have their protobuf defaults. @throws on malformed bytes */
  decode(bytes: Uint8Array): T;
}

const toObject = { defaults: true, arrays: true, longs: Number, bytes: Buffer, oneofs: false } as const;

function codec<T extends object>(name: string): Codec<T> {
  const type = definition.lookupType(`vigo.v1.${name}`);
  return {
    encode: (message) => Buffer.from(type.encode(type.create(message)).finish()),
    decode: (bytes) => type.toObject(type.decode(bytes), toObject) as T,
  };
}

export const codecs = {
  signedRequest: codec<wire.SignedRequest>('SignedRequest'),
  signedReply: codec<wire.SignedReply>('SignedReply'),
  checkInRequest: codec<wire.CheckInRequest>('CheckInRequest'),
  checkInReply: codec<wire.CheckInReply>('CheckInReply'),
  signedAnswer: codec<wire.SignedAnswer>('SignedAnswer'),
  reportResultsRequest: codec<wire.ReportResultsRequest>('ReportResultsRequest'),
  reportResultsReply: codec<wire.ReportResultsReply>('ReportResultsReply'),
  resolveSecretsRequest: codec<wire.ResolveSecretsRequest>('ResolveSecretsRequest'),
  sealedSecrets: codec<wire.SealedSecrets>('SealedSecrets'),
  renewPayload: codec<wire.RenewPayload>('RenewPayload'),
  httpPayload: codec<wire.HttpPayload>('HttpPayload'),
  errorDetail: codec<wire.ErrorDetail>('ErrorDetail'),
  linkFrame: codec<wire.LinkFrame>('LinkFrame'),
} as const;

/** Full gRPC paths of the agent service. */
export const AGENT_METHODS = {
  checkIn: '/vigo.v1.Agent/CheckIn',
  reportResults: '/vigo.v1.Agent/ReportResults',
  resolveSecrets: '/vigo.v1.Agent/ResolveSecrets',
} as const;
export type AgentMethod = keyof typeof AGENT_METHODS;

/** Full gRPC path of the stream between hub and spoke. */
export const LINK_METHOD = '/vigo.v1.Spanner/Link';

/** The trailer that carries an ErrorDetail. */
export const ERROR_TRAILER = 'vigo-error-bin';

/** Version of the wire; one release apart works in both directions. */
export const PROTOCOL_VERSION = 1;
