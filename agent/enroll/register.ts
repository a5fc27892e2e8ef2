/** Enrols this machine over REST: pinned first contact, proof by the identity key, files written only when the reply holds. */
import { existsSync, rmSync } from 'node:fs';
import { hostname as systemHostname } from 'node:os';
import { type EnrollReply, enrollReplySchema } from '../../core/api/enroll.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, ERROR_CODES } from '../../core/base/errors.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import { openDelegation } from '../../core/crypto/delegation.ts';
import { signFor, verifyFor } from '../../core/crypto/domain.ts';
import { httpsCall, problemOf } from '../../core/crypto/https-client.ts';
import { readSigningKey, writeFileDurably } from '../../core/crypto/key-file.ts';
import { fetchPinnedRoot } from '../../core/crypto/tls.ts';
import { formatSettings } from '../settings.ts';
import { agentPaths, enrollKeys, readEnvoyId } from './identity.ts';

export interface RegisterOptions {
  readonly configDir: string;
  readonly apiAddr: string;
  readonly token: string | undefined;
  /** 64 hex digits; the token brings its own */
  readonly caPin: string | undefined;
  readonly hostname: string | undefined;
  readonly force: boolean;
  /** how long a pending enrolment is waited for */
  readonly waitMs: number;
  readonly version: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** asked with the pin seen when nothing pins the server; false ends with CA_PIN_REQUIRED */
  confirmPin(pin: string): Promise<boolean>;
  progress(text: string): void;
}

export interface Registered {
  readonly envoyId: string;
  readonly server: string;
  readonly hostname: string;
}

/** FQDN as the machine knows it: lower case, no trailing dot. */
export function ownHostname(): string {
  return systemHostname().toLowerCase().replace(/\.$/, '');
}

/** As `vigocli tokens create` prints it. */
const TOKEN = /^vgt_[0-9a-z]+_[0-9a-f]+_[0-9a-f]{64}$/;

async function pinnedRoot(options: RegisterOptions, url: URL): Promise<string> {
  if (options.token !== undefined && !TOKEN.test(options.token))
    throw new CodedError('USAGE', 'this is not a whole enrolment token', {
      hint: 'it has the form vgt_<id>_<secret>_<pin>; copy all of it',
    });
  const pin = options.token === undefined ? options.caPin : options.token.split('_')[3];
  const port = url.port === '' ? 443 : Number(url.port);
  const seen = await fetchPinnedRoot(url.hostname, port, pin, 10_000);
  if (pin === undefined && !(await options.confirmPin(seen.pin))) {
    throw new CodedError('CA_PIN_REQUIRED', `nothing pins the server at ${url.host}`, {
      hint: `compare ${seen.pin} with "vigocli doctor" on the server, then give --ca-pin`,
    });
  }
  return seen.certificate;
}

/** @throws CodedError ALREADY_ENROLLED, CA_PIN_REQUIRED, CA_PIN_MISMATCH, UNREACHABLE, and those of server.md §6.6 */
export async function register(options: RegisterOptions): Promise<Registered> {
  const paths = agentPaths(options.configDir);
  const enrolledAs = readEnvoyId(options.configDir);
  if (enrolledAs !== undefined && !options.force)
    throw new CodedError('ALREADY_ENROLLED', `this machine is enrolled as ${enrolledAs}`, {
      hint: 'nothing was changed; --force enrols it anew',
    });
  const oldKey = enrolledAs !== undefined && existsSync(paths.identityKey) ? readSigningKey(paths.identityKey) : undefined;
  if (enrolledAs !== undefined)
    for (const file of [paths.envoyId, paths.identityKey, paths.sealingKey, paths.tlsKey, `${paths.tlsKey}.csr`])
      rmSync(file, { force: true });
  const url = new URL('/api/v1/enroll', options.apiAddr);
  if (url.protocol !== 'https:') throw new CodedError('USAGE', `${options.apiAddr} is not an https address`);
  const rootCa = await pinnedRoot(options, url);
  const keys = await enrollKeys(options.configDir);
  const hostname = options.hostname ?? ownHostname();
  let offsetMs = 0;
  const deadline = options.clock.monotonic() + options.waitMs;
  for (let attempt = 0; ; attempt++) {
    const unsigned = {
      ...(options.token === undefined ? {} : { token: options.token }),
      hostname,
      csr: keys.csr,
      identity_key: Buffer.from(keys.signingKey.publicKey).toString('base64'),
      sealing_key: Buffer.from(keys.sealingKey.publicKey).toString('base64'),
      platform: `${process.platform}/${process.arch}`,
      agent_version: options.version,
      timestamp_ms: options.clock.now() + offsetMs,
      ...(options.force ? { force: true } : {}),
    };
    const signed = canonicalBytes(unsigned);
    const body = JSON.stringify({
      ...unsigned,
      proof: signFor('enroll', keys.signingKey, signed).toString('base64'),
      ...(oldKey === undefined ? {} : { old_key_proof: signFor('enroll', oldKey, signed).toString('base64') }),
    });
    try {
      const reply = await httpsCall({
        method: 'POST',
        url,
        headers: { 'content-type': 'application/json' },
        body,
        rootCa,
        timeoutMs: 30_000,
        maxBytes: 256 * 1024,
        signal: options.signal,
      });
      if (reply.status === 201) return finish(options, enrollReplySchema.parse(JSON.parse(reply.body.toString('utf8'))), rootCa, hostname);
      if (reply.status !== 202) throw problemOf(reply);
      options.progress('the enrolment waits for an admin: vigocli envoys pending');
      if (options.clock.monotonic() >= deadline)
        throw new CodedError('ENROLLMENT_PENDING', 'the enrolment waits for an admin', {
          hint: 'run the command again later: the same keys are used',
        });
      await options.clock.sleep(5_000, options.signal);
    } catch (thrown) {
      if (!(thrown instanceof CodedError)) throw thrown;
      const serverTime = thrown.details?.['server_time_ms'];
      if (thrown.code === 'CLOCK_SKEW' && typeof serverTime === 'number' && offsetMs === 0) {
        offsetMs = serverTime - options.clock.now();
        options.progress(`this clock is off by ${Math.round(offsetMs / 1000)} s: going on with the server's time`);
        continue;
      }
      if (thrown.code === 'ENROLLMENT_PENDING') throw thrown;
      if (ERROR_CODES[thrown.code].retry !== 'backoff' || attempt >= 4 || options.signal.aborted) throw thrown;
      await options.clock.sleep(Math.max(1_000 * 2 ** attempt, (thrown.retryAfterSeconds ?? 0) * 1_000), options.signal);
    }
  }
}

function finish(options: RegisterOptions, reply: EnrollReply, rootCa: string, hostname: string): Registered {
  const { signature, ...unsigned } = reply;
  const rootPublicKey = Buffer.from(reply.root_public_key, 'base64');
  const server = openDelegation(rootPublicKey, reply.fleet_id, reply.delegation);
  if (
    !server.delegation.scopes.includes('enroll') ||
    !verifyFor('enroll', server.publicKey, canonicalBytes(unsigned), Buffer.from(signature, 'base64'))
  ) {
    throw new CodedError('BUNDLE_REJECTED', 'the reply to the enrolment is not signed by a server of the fleet');
  }
  const paths = agentPaths(options.configDir);
  writeFileDurably(paths.tlsCertificate, reply.certificate, 0o600);
  writeFileDurably(paths.caBundle, rootCa, 0o644);
  writeFileDurably(paths.rootKey, `${reply.root_public_key}\n`, 0o644);
  const config = formatSettings({
    server: reply.server,
    // the hub may have ordered a spoke to enrol this machine
    api_addr: reply.api_url ?? options.apiAddr,
    hostname,
    site_id: reply.site_id,
    fleet_id: reply.fleet_id,
    owner_epoch: String(reply.owner_epoch),
    // a server that may not say who owns an envoy is a spoke
    ...(server.delegation.scopes.includes('redirect') ? {} : { spoke: reply.server }),
    ...(reply.fallback_servers.length === 0 ? {} : { fallback_servers: reply.fallback_servers.join(', ') }),
  });
  writeFileDurably(paths.config, config, 0o600);
  rmSync(`${paths.tlsKey}.csr`, { force: true });
  // last: from here on the machine counts as enrolled
  writeFileDurably(paths.envoyId, `${reply.envoy_id}\n`, 0o644);
  return { envoyId: reply.envoy_id, server: reply.server, hostname };
}
