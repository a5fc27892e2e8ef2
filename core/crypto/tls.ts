/** The only maker of TLS options: TLS 1.3 between programs, certificates of the fleet checked, no other way to connect. */
import { randomBytes, X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import { CodedError } from '../base/errors.ts';
import { publicKeyPin } from './certificate.ts';

export interface TlsIdentity {
  /** PEM: leaf, then the intermediate */
  readonly certificateChain: string;
  readonly privateKey: string;
}

/** 48 random bytes: name, HMAC and AES key of session tickets. */
export function newTicketKeys(): Buffer {
  return randomBytes(48);
}

/** Context of the RPC port; replaced as a whole when certificate or ticket keys change. */
export function rpcServerContext(
  rootCa: string,
  identity: TlsIdentity,
  ticketKeys: Buffer | undefined,
): tls.SecureContextOptions & { ticketKeys?: Buffer } {
  return {
    ca: rootCa,
    cert: identity.certificateChain,
    key: identity.privateKey,
    minVersion: 'TLSv1.3',
    ...(ticketKeys === undefined ? {} : { ticketKeys }),
  };
}

/** REST port: browsers have no certificate, so one is asked for and checked by the agent routes themselves (`socket.authorized`). */
export function restServerOptions(rootCa: string, identity: TlsIdentity): tls.TlsOptions {
  // biome-ignore lint/plugin: the one place where a missing client certificate is allowed; agent routes look at socket.authorized
  const asked = { requestCert: true, rejectUnauthorized: false };
  return { ca: rootCa, cert: identity.certificateChain, key: identity.privateKey, minVersion: 'TLSv1.2', ...asked };
}

/** The local admin socket: whoever can open it is the principal, so no certificate is asked for. */
export function localServerOptions(identity: TlsIdentity): tls.TlsOptions {
  return { cert: identity.certificateChain, key: identity.privateKey, minVersion: 'TLSv1.3' };
}

/** An agent or CLI that trusts one root only. */
export function clientOptions(rootCa: string | undefined, identity?: TlsIdentity): tls.SecureContextOptions {
  return {
    minVersion: 'TLSv1.3',
    ...(rootCa === undefined ? {} : { ca: rootCa }),
    ...(identity === undefined ? {} : { cert: identity.certificateChain, key: identity.privateKey }),
  };
}

function rootOf(certificate: tls.DetailedPeerCertificate): tls.DetailedPeerCertificate {
  let current = certificate;
  for (let depth = 0; depth < 8 && current.issuerCertificate !== undefined && current.issuerCertificate !== current; depth++)
    current = current.issuerCertificate;
  return current;
}

/**
 * First contact: opens a connection, sends nothing, reads the root certificate the server shows, and keeps it only if the SHA-256 of its public key equals the pin.
 * Every later connection is checked against that root. With no pin the pin seen is returned for a person to compare.
 * @param pin 64 hex digits, or undefined to only look
 * @throws CodedError CA_PIN_MISMATCH, UNREACHABLE
 */
export async function fetchPinnedRoot(
  host: string,
  port: number,
  pin: string | undefined,
  timeoutMs: number,
): Promise<{ readonly certificate: string; readonly pin: string }> {
  const root = await new Promise<Buffer>((resolve, reject) => {
    const socket = tls.connect({
      host,
      port,
      servername: /^[\d.]+$|:/.test(host) ? '' : host,
      minVersion: 'TLSv1.3',
      // biome-ignore lint/plugin: nothing is sent on this connection; the pin decides
      rejectUnauthorized: false,
      timeout: timeoutMs,
    });
    socket.once('timeout', () => socket.destroy(new Error('timed out')));
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      const raw = rootOf(socket.getPeerCertificate(true)).raw;
      socket.destroy();
      resolve(raw);
    });
  }).catch((cause: unknown) => {
    throw new CodedError('UNREACHABLE', `no TLS connection to ${host}:${port}`, {
      cause,
      hint: 'is the server running and the address right?',
    });
  });
  const certificate = new X509Certificate(root);
  const pem = certificate.toString();
  const seen = publicKeyPin(pem);
  if (pin !== undefined && seen !== pin.toLowerCase()) {
    throw new CodedError('CA_PIN_MISMATCH', `the server at ${host}:${port} does not hold the pinned root CA`, {
      hint: 'wrong server, or somebody in between: nothing was sent',
      details: { seen },
    });
  }
  if (!certificate.ca || !certificate.checkIssued(certificate))
    throw new CodedError('CA_PIN_MISMATCH', 'the server shows no self-signed root CA');
  return { certificate: pem, pin: seen };
}
