/** The envoy that a client certificate names: exactly one SAN URI `spiffe://<fleet>/envoy/<uuid>` of this fleet. */
import type { PeerCertificate } from 'node:tls';
import { CodedError } from '../../core/base/errors.ts';
import { idBytes, isUuid } from '../../core/base/ids.ts';

/** @throws CodedError CERTIFICATE_INVALID */
export function peerIdentity(certificate: Pick<PeerCertificate, 'subjectaltname'> | undefined, fleetId: string): Uint8Array {
  const uris = (certificate?.subjectaltname ?? '').split(', ').filter((name) => name.startsWith('URI:'));
  if (uris.length !== 1)
    throw new CodedError(
      'CERTIFICATE_INVALID',
      uris.length === 0 ? 'the client certificate names no envoy' : 'the client certificate names more than one identity',
    );
  const prefix = `URI:spiffe://${fleetId}/envoy/`;
  const uri = uris[0]!;
  const id = uri.startsWith(prefix) ? uri.slice(prefix.length) : '';
  if (!isUuid(id)) throw new CodedError('CERTIFICATE_INVALID', 'the client certificate is not of an envoy of this fleet');
  return idBytes(id);
}

/** The server that a certificate names: exactly one SAN URI `spiffe://<fleet>/server/<id>` of this fleet. @throws CodedError CERTIFICATE_INVALID */
export function peerServer(certificate: Pick<PeerCertificate, 'subjectaltname'> | undefined, fleetId: string): string {
  const uris = (certificate?.subjectaltname ?? '').split(', ').filter((name) => name.startsWith('URI:'));
  const prefix = `URI:spiffe://${fleetId}/server/`;
  const id = uris.length === 1 && uris[0]!.startsWith(prefix) ? uris[0]!.slice(prefix.length) : '';
  if (!isUuid(id)) throw new CodedError('CERTIFICATE_INVALID', 'the certificate is not of a server of this fleet');
  return id;
}
