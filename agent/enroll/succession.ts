/**
 * The server of this envoy joined another fleet. Its certificate is of a root that is not pinned here; if the former root, which is, names that root its successor,
 * the envoy pins the new one, and renews its certificate with the key it always had.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { publicKeyPin } from '../../core/crypto/certificate.ts';
import { httpsCall } from '../../core/crypto/https-client.ts';
import { writeFileDurably } from '../../core/crypto/key-file.ts';
import { openSuccession, type Succession } from '../../core/crypto/succession.ts';
import { fetchPinnedRoot } from '../../core/crypto/tls.ts';
import { type AgentIdentity, agentPaths } from './identity.ts';

const TIMEOUT_MS = 10_000;
const signedSchema = z.object({ record: z.string(), signature: z.string() });

/** What was decided and perhaps not finished. */
const pendingFile = (configDir: string): string => join(configDir, 'succession.json');

/**
 * The successor of our root, if the server at this address shows another root and has the word of ours for it. Nothing is believed but that word.
 * @throws CodedError BUNDLE_REJECTED for a word that does not hold; UNREACHABLE
 */
async function findSuccession(
  identity: Pick<AgentIdentity, 'caBundle' | 'fleetId' | 'rootPublicKey'>,
  apiUrl: string,
  signal: AbortSignal,
): Promise<Succession | undefined> {
  const url = new URL('/bootstrap/succession.json', apiUrl);
  const port = url.port === '' ? 443 : Number(url.port);
  const seen = await fetchPinnedRoot(url.hostname.replace(/^\[|\]$/g, ''), port, undefined, TIMEOUT_MS);
  if (seen.pin === publicKeyPin(identity.caBundle)) return undefined;
  const reply = await httpsCall({ method: 'GET', url, rootCa: seen.certificate, timeoutMs: TIMEOUT_MS, maxBytes: 64 * 1024, signal });
  if (reply.status !== 200) return undefined;
  const signed = signedSchema.safeParse(JSON.parse(reply.body.toString('utf8')));
  if (!signed.success) throw new CodedError('BUNDLE_REJECTED', 'the succession has an unknown shape');
  const succession = openSuccession(identity.rootPublicKey, identity.fleetId, signed.data);
  if (publicKeyPin(succession.root_ca) !== seen.pin)
    throw new CodedError('BUNDLE_REJECTED', 'the server shows another root than the one that succeeds ours');
  return succession;
}

/** What OpenSSL says of a chain whose root is not trusted. */
const FOREIGN_ROOT = /self-signed certificate|unable to (get|verify)|issuer certificate/i;

export function showsForeignRoot({ code, message }: CodedError): boolean {
  return code === 'UNREACHABLE' && FOREIGN_ROOT.test(message);
}

export interface NewFleet {
  readonly fleetId: string;
  readonly siteId: string;
}

/** Finds the successor and puts it in place. @throws as {@link findSuccession} */
export async function followSuccession(
  identity: Pick<AgentIdentity, 'caBundle' | 'fleetId' | 'rootPublicKey'>,
  configDir: string,
  apiUrl: string,
  signal: AbortSignal,
): Promise<NewFleet | undefined> {
  const succession = await findSuccession(identity, apiUrl, signal);
  if (succession === undefined) return undefined;
  // kept before anything changes: from here on it is carried through
  writeFileDurably(pendingFile(configDir), `${JSON.stringify(succession)}\n`, 0o600);
  return finishSuccession(configDir);
}

/** Puts the new root, fleet and site in place; answers them, or undefined when nothing is pending. Each step may have been done before. */
export function finishSuccession(configDir: string): NewFleet | undefined {
  const file = pendingFile(configDir);
  if (!existsSync(file)) return undefined;
  const succession = JSON.parse(readFileSync(file, 'utf8')) as Succession;
  const paths = agentPaths(configDir);
  const changed: Readonly<Record<string, string>> = { fleet_id: succession.fleet_id, site_id: succession.site_id };
  const lines = readFileSync(paths.config, 'utf8').split('\n');
  const kept = lines.filter((line) => line.trim() !== '' && !Object.hasOwn(changed, line.slice(0, Math.max(0, line.indexOf('='))).trim()));
  const text = [...kept, ...Object.entries(changed).map(([key, value]) => `${key} = ${value}`), ''].join('\n');
  writeFileDurably(paths.caBundle, succession.root_ca, 0o644);
  writeFileDurably(paths.rootKey, `${succession.root_public_key}\n`, 0o644);
  writeFileDurably(paths.config, text, 0o600);
  rmSync(file);
  return { fleetId: succession.fleet_id, siteId: succession.site_id };
}
