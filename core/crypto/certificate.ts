/** X.509 for the fleet, ECDSA P-256: one root CA, one intermediate CA per site (path length 0), server and envoy certificates below it. */
import 'reflect-metadata';
import { createHash, createPrivateKey, createPublicKey, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { CodedError } from '../base/errors.ts';

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const provider = webcrypto as unknown as Crypto;
x509.cryptoProvider.set(provider);

/** A certificate or chain (PEM) with the PKCS#8 PEM of its key. */
export interface CertifiedKey {
  readonly certificate: string;
  readonly privateKey: string;
}

interface KeyPair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

async function newKeys(): Promise<KeyPair> {
  return (await provider.subtle.generateKey(EC, true, ['sign', 'verify'])) as KeyPair;
}

async function keyPem(key: CryptoKey): Promise<string> {
  const der = Buffer.from(await provider.subtle.exportKey('pkcs8', key));
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' }).toString();
}

async function importKey(pem: string): Promise<CryptoKey> {
  const der = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
  return provider.subtle.importKey('pkcs8', new Uint8Array(der), EC, false, ['sign']);
}

/** 16 random bytes, positive. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x01;
  return bytes.toString('hex');
}

/** First certificate of a PEM text. */
export function firstPem(pem: string): string {
  const match = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/.exec(pem);
  if (match === null) throw new CodedError('CERTIFICATE_INVALID', 'no certificate in the PEM text');
  return `${match[0]}\n`;
}

interface Issue {
  readonly subject: string;
  readonly publicKey: CryptoKey;
  readonly issuer: CertifiedKey;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly extensions: readonly x509.Extension[];
}

async function issue(request: Issue): Promise<string> {
  const parent = new x509.X509Certificate(firstPem(request.issuer.certificate));
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: request.subject,
    issuer: parent.subject,
    notBefore: request.notBefore,
    notAfter: request.notAfter,
    signingAlgorithm: EC,
    publicKey: request.publicKey,
    signingKey: await importKey(request.issuer.privateKey),
    extensions: [
      ...request.extensions,
      await x509.SubjectKeyIdentifierExtension.create(request.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(parent),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

const CA_USAGE = new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true);
const LEAF_USAGE = new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true);
const SERVER_AND_CLIENT = new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]);
const CLIENT = new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]);
const DAY_MS = 86_400_000;
/** Certificates start a little in the past, so that a clock behind by minutes does not refuse them. */
const BACKDATE_MS = 10 * 60_000;

/** The root CA of a fleet, 20 years. */
export async function createRootCa(fleetId: string, now: number): Promise<CertifiedKey> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: `CN=vigo root CA ${fleetId}`,
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + 20 * 365 * DAY_MS),
    signingAlgorithm: EC,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 1, true),
      CA_USAGE,
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: `${certificate.toString('pem')}\n`, privateKey: await keyPem(keys.privateKey) };
}

async function issueSiteCa(root: CertifiedKey, siteId: string, publicKey: CryptoKey, now: number): Promise<string> {
  const extensions = [new x509.BasicConstraintsExtension(true, 0, true), CA_USAGE];
  const dates = { notBefore: new Date(now - BACKDATE_MS), notAfter: new Date(now + 5 * 365 * DAY_MS) };
  return await issue({ subject: `CN=vigo site CA ${siteId}`, publicKey, issuer: root, ...dates, extensions });
}

/** The intermediate CA of a site, 5 years, path length 0. */
export async function createSiteCa(root: CertifiedKey, siteId: string, now: number): Promise<CertifiedKey> {
  const keys = await newKeys();
  return { certificate: await issueSiteCa(root, siteId, keys.publicKey, now), privateKey: await keyPem(keys.privateKey) };
}

/** The intermediate CA of a site that made its key itself; of the request its public key alone is taken. @throws CodedError BAD_CSR */
export async function createSiteCaFor(root: CertifiedKey, siteId: string, csrPem: string, now: number): Promise<string> {
  return await issueSiteCa(root, siteId, await requestedKey(csrPem), now);
}

export interface ServerNames {
  readonly fleetId: string;
  readonly serverId: string;
  readonly dns: readonly string[];
  readonly ips: readonly string[];
}

/** A server certificate; pass `privateKey` (PEM) to keep the TLS key over renewals, as pinned one-liners need. */
export async function createServerCertificate(
  siteCa: CertifiedKey,
  names: ServerNames,
  days: number,
  now: number,
  privateKey?: string,
): Promise<CertifiedKey> {
  const keys = privateKey === undefined ? await newKeys() : undefined;
  const pem = privateKey ?? (await keyPem(keys!.privateKey));
  const publicKey = await importPublic(createPublicKey(pem).export({ type: 'spki', format: 'der' }));
  const alternative = new x509.SubjectAlternativeNameExtension([
    ...names.dns.map((value) => ({ type: 'dns' as const, value })),
    ...names.ips.map((value) => ({ type: 'ip' as const, value })),
    { type: 'url' as const, value: `spiffe://${names.fleetId}/server/${names.serverId}` },
  ]);
  const certificate = await issue({
    subject: `CN=${names.dns[0] ?? names.serverId}`,
    publicKey,
    issuer: siteCa,
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + days * DAY_MS),
    extensions: [new x509.BasicConstraintsExtension(false, undefined, true), LEAF_USAGE, SERVER_AND_CLIENT, alternative],
  });
  return { certificate, privateKey: pem };
}

async function importPublic(spki: Uint8Array): Promise<CryptoKey> {
  return provider.subtle.importKey('spki', new Uint8Array(spki), EC, true, ['verify']);
}

async function requestOf(keys: KeyPair, name: string): Promise<string> {
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({ name, keys, signingAlgorithm: EC });
  return `${csr.toString('pem')}\n`;
}

/** A key pair and its signing request; nothing in the request but the public key will be used. */
export async function createRequest(): Promise<{ readonly csr: string; readonly privateKey: string }> {
  const keys = await newKeys();
  return { csr: await requestOf(keys, 'CN=vigo envoy'), privateKey: await keyPem(keys.privateKey) };
}

/** A signing request for a key that is there already. */
export async function createRequestFor(privateKey: string): Promise<string> {
  const publicKey = await importPublic(createPublicKey(privateKey).export({ type: 'spki', format: 'der' }));
  return await requestOf({ publicKey, privateKey: await importKey(privateKey) }, 'CN=vigo site CA');
}

/** The public key of a request, after its own signature holds. @throws CodedError BAD_CSR */
async function requestedKey(csrPem: string): Promise<CryptoKey> {
  try {
    const csr = new x509.Pkcs10CertificateRequest(csrPem);
    if (!(await csr.verify())) throw new Error('its signature does not hold');
    return await importPublic(new Uint8Array(csr.publicKey.rawData));
  } catch (cause) {
    throw new CodedError('BAD_CSR', 'the certificate signing request is not a signed PKCS#10 request for an ECDSA P-256 key', { cause });
  }
}

/**
 * An envoy certificate. The request is rebuilt, never copied: only its public key (P-256) is taken, after its own signature holds.
 * @throws CodedError BAD_CSR
 */
export async function createEnvoyCertificate(
  siteCa: CertifiedKey,
  envoy: { fleetId: string; envoyId: string },
  csrPem: string,
  days: number,
  now: number,
): Promise<string> {
  const publicKey = await requestedKey(csrPem);
  return issue({
    subject: `CN=${envoy.envoyId}`,
    publicKey,
    issuer: siteCa,
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + days * DAY_MS),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      LEAF_USAGE,
      CLIENT,
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${envoy.fleetId}/envoy/${envoy.envoyId}` }]),
    ],
  });
}

/** SHA-256 of the subject public key info, hex: the trust pin of a CA. */
export function publicKeyPin(certificatePem: string): string {
  const der = new x509.X509Certificate(firstPem(certificatePem)).publicKey.rawData;
  return createHash('sha256').update(new Uint8Array(der)).digest('hex');
}

export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Milliseconds since 1970 of the first certificate of a PEM text. */
export function validityOf(pem: string): Validity {
  const certificate = new x509.X509Certificate(firstPem(pem));
  return { notBefore: certificate.notBefore.getTime(), notAfter: certificate.notAfter.getTime() };
}

/** Own certificates renew at two thirds of their life. */
export function isDueForRenewal({ notBefore, notAfter }: Validity, now: number): boolean {
  return now >= notBefore + ((notAfter - notBefore) * 2) / 3;
}
