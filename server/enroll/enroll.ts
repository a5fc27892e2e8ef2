/** Enrolment (server.md §6.6): token, keys, proof, then one transaction that spends the token, creates the envoy and records it. */
import { createHash } from 'node:crypto';
import type { EnrollReply, EnrollRequest } from '../../core/api/enroll.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { compileGlob } from '../../core/base/glob.ts';
import { type EnvoyId, newId } from '../../core/base/ids.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import { createEnvoyCertificate, validityOf } from '../../core/crypto/certificate.ts';
import { signFor, verifyFor } from '../../core/crypto/domain.ts';
import { requireAcceptablePublicKey } from '../../core/crypto/ed25519.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { FleetIndex } from '../fleet/fleet-index.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import { CLOCK_WINDOW_MS } from '../rpc/authenticate.ts';
import type { EnrollTokenRow, EnvoyIdentity, Store } from '../store/store.ts';
import type { Bcrypt } from './bcrypt.ts';
import { type ParsedToken, parseToken } from './tokens.ts';

export interface EnrollSettings {
  /** host:port that agents dial */
  readonly advertise: string;
  readonly envoyCertDays: number;
  readonly pending: readonly string[];
  readonly onConflict: 'refuse' | 'approve';
}

export interface EnrollParts {
  readonly store: Store;
  readonly fleet: FleetIndex;
  readonly identity: ServerIdentity;
  readonly bcrypt: Bcrypt;
  readonly trail: AuditTrail;
  readonly clock: Clock;
  readonly settings: EnrollSettings;
  /** index of the entry that matches a hostname in the live release, -1 for none */
  entryOf(hostname: string): number;
  /** environment of the matching entry, null without */
  environmentOf(hostname: string): string | null;
  dropConnections(envoyId: string): void;
  /** an envoy of this name is on its way here from another site */
  announces(hostname: string): boolean;
}

export type EnrollResult =
  | { readonly status: 'enrolled'; readonly reply: EnrollReply }
  | { readonly status: 'pending'; readonly enrollmentId: string };

const RETRY_MS = 15 * 60_000;
/** A hash nobody knows the secret of: unknown tokens cost the same time as wrong ones. */
const DUMMY_HASH = '$2b$12$C6UzMDM.H6dfI/f/IKcEeO7ZbQ6p3Kk9pB1u1vQyqgL1mS1mF8s3K';
const HOSTNAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

function fingerprint(key: Uint8Array): string {
  return createHash('sha256').update(key).digest('hex');
}

export class Enrollment {
  readonly #parts: EnrollParts;
  /** answers given in the last 15 minutes, by token and key: a lost reply is repeated word for word */
  readonly #answers = new Map<string, { readonly at: number; readonly reply: EnrollReply }>();

  constructor(parts: EnrollParts) {
    this.#parts = parts;
  }

  /** @throws CodedError as listed in server.md §6.6 */
  async enroll(request: EnrollRequest, address: string): Promise<EnrollResult> {
    const { clock, identity } = this.#parts;
    const now = clock.now();
    if (!HOSTNAME.test(request.hostname))
      throw new CodedError('HOSTNAME_INVALID', 'the hostname is not a lower-case RFC 1123 name of at most 253 bytes');
    if (Math.abs(now - request.timestamp_ms) > CLOCK_WINDOW_MS)
      throw new CodedError('CLOCK_SKEW', 'the clocks of envoy and server differ by more than 5 minutes', {
        details: { server_time_ms: now },
      });
    if (this.#parts.fleet.fenced)
      throw new CodedError('SPOKE_UNAVAILABLE', 'this site was evacuated and enrols nobody', { hint: 'enrol at the hub' });
    if (this.#parts.announces(request.hostname))
      throw new CodedError('HOSTNAME_TAKEN', `an envoy of the name ${request.hostname} is moving to this site`);
    const token = request.token === undefined ? undefined : await this.#findToken(request.token, request.hostname, now);
    const identityKey = Buffer.from(request.identity_key, 'base64');
    requireAcceptablePublicKey(identityKey);
    const signedBytes = proofBytes(request);
    if (!verifyFor('enroll', identityKey, signedBytes, Buffer.from(request.proof, 'base64')))
      throw new CodedError('BAD_PROOF', 'the proof is not a signature of the identity key over this request');
    if (token !== undefined && !(await this.#parts.bcrypt.matches(token.parsed.secret, token.row.secretHash))) throw unknownToken();
    const answered = this.#answers.get(`${token?.row.id ?? ''}/${fingerprint(identityKey)}`);
    if (answered !== undefined && now - answered.at < RETRY_MS) return { status: 'enrolled', reply: answered.reply };
    if (token?.row.spent !== undefined) return this.#spentAgain(token.row, identityKey, request, address, now);
    const existing = await this.#parts.store.envoys.byHostname(request.hostname);
    if (
      existing !== undefined &&
      (existing.status === 'active' || existing.status === 'pending') &&
      Buffer.from(existing.identityKey).equals(identityKey)
    ) {
      if (existing.status === 'pending') return { status: 'pending', enrollmentId: existing.id };
      if (token === undefined)
        return { status: 'enrolled', reply: await this.#certify(existing.id, existing.ownerEpoch, request, identityKey, '', now) };
      throw new CodedError('KEY_ALREADY_ENROLLED', 'this key is enrolled already', {
        hint: 'nothing is to be done: the envoy can renew its certificate by itself',
      });
    }
    const proven =
      existing?.status === 'active' &&
      request.old_key_proof !== undefined &&
      verifyFor('enroll', existing.identityKey, signedBytes, Buffer.from(request.old_key_proof, 'base64'));
    const status = this.#decide(request, existing?.status === 'active', proven, token !== undefined);
    const envoyId = newId(now);
    const certificate = await createEnvoyCertificate(
      identity.siteCa,
      { fleetId: identity.fleetId, envoyId },
      request.csr,
      this.#parts.settings.envoyCertDays,
      now,
    );
    const envoy: EnvoyIdentity = {
      id: envoyId,
      hostname: request.hostname,
      identityKey,
      sealingKey: Buffer.from(request.sealing_key, 'base64'),
      status: status.status,
      ownerEpoch: 1,
      enrolledAt: now,
      certificateExpiresAt: validityOf(certificate).notAfter,
      platform: request.platform,
      agentVersion: request.agent_version,
      address,
      labels: token?.row.labels ?? {},
      reason: status.reason,
    };
    try {
      await this.#commit(envoy, token?.row, proven ? existing?.id : undefined, now);
    } catch (thrown) {
      // somebody was faster with the same token: told and recorded like anybody who comes later
      const row =
        thrown instanceof CodedError && thrown.code === 'TOKEN_ALREADY_SPENT' && token !== undefined
          ? await this.#parts.store.tokens.byId(token.row.id)
          : undefined;
      if (row?.spent === undefined) throw thrown;
      return this.#spentAgain(row, identityKey, request, address, now);
    }
    if (status.status === 'pending') return { status: 'pending', enrollmentId: envoyId };
    const reply = this.#reply(envoyId, 1, certificate);
    this.#remember(`${token?.row.id ?? ''}/${fingerprint(identityKey)}`, reply, now);
    return { status: 'enrolled', reply };
  }

  async #findToken(text: string, hostname: string, now: number): Promise<{ readonly parsed: ParsedToken; readonly row: EnrollTokenRow }> {
    let parsed: ParsedToken | undefined;
    try {
      parsed = parseToken(text);
    } catch (thrown) {
      if (!(thrown instanceof CodedError)) throw thrown;
    }
    const row = parsed === undefined ? undefined : await this.#parts.store.tokens.byId(parsed.id);
    if (parsed === undefined || row === undefined) {
      await this.#parts.bcrypt.matches('unknown', DUMMY_HASH);
      throw unknownToken();
    }
    if (row.revokedAt > 0) throw new CodedError('TOKEN_REVOKED', 'the enrolment token was revoked');
    if (row.spent === undefined && row.expiresAt <= now)
      throw new CodedError('TOKEN_EXPIRED', 'the enrolment token is past its lifetime', {
        hint: 'ask for a new one: vigocli tokens create',
      });
    const environment = row.environment === '' ? null : this.#parts.environmentOf(hostname);
    if (!compileGlob(row.pattern).matches(hostname) || (row.environment !== '' && environment !== row.environment)) {
      throw new CodedError('TOKEN_HOSTNAME_MISMATCH', 'the enrolment token is for other hostnames', { hint: 'the token stays unspent' });
    }
    return { parsed, row };
  }

  #decide(
    request: EnrollRequest,
    taken: boolean,
    proven: boolean,
    hasToken: boolean,
  ): { readonly status: 'active' | 'pending'; readonly reason: string } {
    const { settings } = this.#parts;
    if (!hasToken && !settings.pending.some((pattern) => compileGlob(pattern).matches(request.hostname))) {
      throw new CodedError('TOKEN_UNKNOWN', 'an enrolment token is needed', { hint: 'vigocli tokens create --pattern <glob>' });
    }
    if (taken && !proven) {
      if (request.force === true || settings.onConflict === 'approve')
        return { status: 'pending', reason: 'hostname is taken by a live envoy: another key asks for it' };
      throw new CodedError('HOSTNAME_TAKEN', `a live envoy holds the hostname ${request.hostname}`, {
        hint: 'prove the old key with --force, or let an admin approve or revoke',
      });
    }
    return hasToken ? { status: 'active', reason: '' } : { status: 'pending', reason: 'no token: the hostname matches enrollment.pending' };
  }

  async #commit(envoy: EnvoyIdentity, token: EnrollTokenRow | undefined, replaces: EnvoyId | undefined, now: number): Promise<void> {
    const { store, trail, fleet } = this.#parts;
    const actor = { kind: 'envoy', id: envoy.id, name: envoy.hostname, address: envoy.address } as const;
    const keyFingerprint = fingerprint(envoy.identityKey);
    await store.transaction(async (tx) => {
      if (
        token !== undefined &&
        !(await tx.tokens.spend(token.id, { envoyId: envoy.id, hostname: envoy.hostname, keyFingerprint, address: envoy.address, at: now }))
      ) {
        throw new CodedError('TOKEN_ALREADY_SPENT', 'the enrolment token was spent a moment ago by somebody else');
      }
      if (replaces !== undefined) await tx.envoys.setStatus(replaces, 'revoked', 'replaced: re-enrolled with the proof of its old key');
      await tx.envoys.insert(envoy);
      if (token !== undefined)
        await trail.record(tx, {
          actor,
          event: 'token.spent',
          target: { kind: 'token', id: token.id, name: token.pattern },
          outcome: 'ok',
        });
      await trail.record(tx, {
        actor,
        event: 'envoy.enrolled',
        target: { kind: 'envoy', id: envoy.id, name: envoy.hostname },
        outcome: 'ok',
        data: { status: envoy.status, key_fingerprint: keyFingerprint, platform: envoy.platform },
      });
    });
    if (replaces !== undefined) {
      const slot = fleet.slotOf(replaces);
      if (slot >= 0) fleet.revoke(slot);
      this.#parts.dropConnections(replaces);
    }
    fleet.assignEntry(fleet.insert(envoy), this.#parts.entryOf(envoy.hostname));
  }

  /** The token is spent: the same keys within 15 minutes get their answer again, anybody else is told and recorded. */
  async #spentAgain(row: EnrollTokenRow, identityKey: Buffer, request: EnrollRequest, address: string, now: number): Promise<EnrollResult> {
    const spent = row.spent!;
    if (spent.keyFingerprint === fingerprint(identityKey) && now - spent.at < RETRY_MS) {
      const envoy = await this.#parts.store.envoys.byId(spent.envoyId);
      if (envoy !== undefined && envoy.status === 'active' && envoy.hostname === request.hostname) {
        return { status: 'enrolled', reply: await this.#certify(envoy.id, envoy.ownerEpoch, request, identityKey, row.id, now) };
      }
      if (envoy?.status === 'pending') return { status: 'pending', enrollmentId: envoy.id };
    }
    const { store, trail } = this.#parts;
    await store.transaction((tx) =>
      trail.record(tx, {
        actor: { kind: 'envoy', id: '', name: request.hostname, address },
        event: 'token.misused',
        target: { kind: 'token', id: row.id, name: row.pattern },
        outcome: 'denied',
        data: {
          spent_by: spent.hostname,
          spent_from: spent.address,
          spent_key: spent.keyFingerprint,
          spent_at: new Date(spent.at).toISOString(),
          key_fingerprint: fingerprint(identityKey),
        },
      }),
    );
    throw new CodedError('TOKEN_ALREADY_SPENT', 'the enrolment token is spent', {
      hint: 'each token works once; the audit log says who used it',
    });
  }

  async #certify(
    envoyId: EnvoyId,
    ownerEpoch: number,
    request: EnrollRequest,
    identityKey: Buffer,
    tokenId: string,
    now: number,
  ): Promise<EnrollReply> {
    const { identity, settings } = this.#parts;
    const certificate = await createEnvoyCertificate(
      identity.siteCa,
      { fleetId: identity.fleetId, envoyId },
      request.csr,
      settings.envoyCertDays,
      now,
    );
    const reply = this.#reply(envoyId, ownerEpoch, certificate);
    this.#remember(`${tokenId}/${fingerprint(identityKey)}`, reply, now);
    return reply;
  }

  #remember(name: string, reply: EnrollReply, now: number): void {
    for (const [key, { at }] of this.#answers) if (now - at >= RETRY_MS) this.#answers.delete(key);
    this.#answers.set(name, { at: now, reply });
  }

  #reply(envoyId: EnvoyId, ownerEpoch: number, certificate: string): EnrollReply {
    const { identity, settings } = this.#parts;
    const unsigned = {
      envoy_id: envoyId,
      fleet_id: identity.fleetId,
      site_id: identity.siteId,
      owner_epoch: ownerEpoch,
      server: settings.advertise,
      fallback_servers: [],
      certificate: certificate + identity.siteCa.certificate,
      ca_bundle: identity.rootCa,
      root_public_key: Buffer.from(identity.rootPublicKey).toString('base64'),
      delegation: identity.delegation,
    };
    return { ...unsigned, signature: signFor('enroll', identity.serverKey, canonicalBytes(unsigned)).toString('base64') };
  }
}

/** What `proof` and `old_key_proof` sign: canonical JSON of the request without the two. */
export function proofBytes(request: EnrollRequest): Buffer {
  const { proof: _proof, old_key_proof: _old, ...signed } = request;
  return canonicalBytes(signed);
}

function unknownToken(): CodedError {
  return new CodedError('TOKEN_UNKNOWN', 'the enrolment token is not known');
}
