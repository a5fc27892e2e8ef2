/** Domain separation: every signature covers a string that names what is signed, then 0x00, then the bytes. */
import { type SigningKey, sign, verify } from './ed25519.ts';

export const DOMAINS = {
  bundle: 'vigo-bundle-v1',
  head: 'vigo-head-v1',
  release: 'vigo-release-v1',
  delegation: 'vigo-delegation-v1',
  revocation: 'vigo-revocation-v1',
  succession: 'vigo-succession-v1',
  checkpoint: 'vigo-checkpoint-v1',
  enroll: 'vigo/v1/enroll',
  renew: 'vigo/v1/renew',
  checkIn: 'vigo/v1/Agent/CheckIn',
  checkInReply: 'vigo/v1/Agent/CheckIn/reply',
  reportResults: 'vigo/v1/Agent/ReportResults',
  resolveSecrets: 'vigo/v1/Agent/ResolveSecrets',
  resolveSecretsReply: 'vigo/v1/Agent/ResolveSecrets/reply',
  agentHttp: 'vigo/v1/http',
  ownership: 'vigo-ownership-v1',
  permit: 'vigo-permit-v1',
  link: 'vigo/v1/Spanner/Link',
} as const;
export type Domain = keyof typeof DOMAINS;

const prefixes = Object.fromEntries(Object.entries(DOMAINS).map(([name, text]) => [name, Buffer.from(`${text}\0`, 'utf8')])) as Record<
  Domain,
  Buffer
>;

/** domain string ‖ 0x00 ‖ message */
export function withDomain(domain: Domain, message: Uint8Array): Buffer {
  const prefix = prefixes[domain];
  const bytes = Buffer.allocUnsafe(prefix.length + message.length);
  bytes.set(prefix, 0);
  bytes.set(message, prefix.length);
  return bytes;
}

export function signFor(domain: Domain, key: Pick<SigningKey, 'secretKey'>, message: Uint8Array): Buffer {
  return sign(key.secretKey, withDomain(domain, message));
}

export function verifyFor(domain: Domain, publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  return verify(publicKey, withDomain(domain, message), signature);
}
