/** An envoy over REST: its certificate and a signature over method and path must agree, sequence and time as everywhere. */
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { CodedError } from '../../core/base/errors.ts';
import { idText } from '../../core/base/ids.ts';
import { codecs } from '../../proto/load.ts';
import type { Principal } from '../access/permissions.ts';
import type { FleetIndex } from '../fleet/fleet-index.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import type { Authenticator } from '../rpc/authenticate.ts';
import { peerIdentity } from '../rpc/peer-identity.ts';

const SIGNED = /^([A-Za-z0-9+/=]{1,4096})\.([A-Za-z0-9+/=]{1,256})$/;

/** @throws CodedError CERTIFICATE_INVALID, BAD_SIGNATURE and those of the authenticator */
export function authenticateAgent(
  request: IncomingMessage,
  method: string,
  address: string,
  parts: { readonly authenticator: Authenticator; readonly identity: ServerIdentity; readonly fleet: FleetIndex },
): Principal {
  const { socket } = request;
  if (!(socket instanceof TLSSocket) || !socket.authorized)
    throw new CodedError('CERTIFICATE_INVALID', 'a client certificate of this fleet is needed');
  const envoyId = peerIdentity(socket.getPeerCertificate(), parts.identity.fleetId);
  const given = request.headers['vigo-signed'];
  const match = SIGNED.exec(typeof given === 'string' ? given : '');
  if (match === null) throw new CodedError('BAD_SIGNATURE', 'the header Vigo-Signed is missing or malformed');
  const signed = codecs.signedRequest.encode({ payload: Buffer.from(match[1]!, 'base64'), signature: Buffer.from(match[2]!, 'base64') });
  const { payload, slot } = parts.authenticator.authenticate('agentHttp', signed, envoyId);
  const said = codecs.httpPayload.decode(payload);
  if (said.method !== method || said.path !== (request.url ?? '').split('?')[0])
    throw new CodedError('BAD_SIGNATURE', 'the signature covers another method or path');
  return { kind: 'envoy', id: idText(envoyId), name: parts.fleet.hostname(slot), role: '', permissions: new Set(), address };
}
