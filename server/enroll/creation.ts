/** Makes envoys at their own site: who may have the hostname, certificate, one transaction for envoy, token and audit record, signed reply. */
import type { EnrollReply, EnrollRequest } from '../../core/api/enroll.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { compileGlob } from '../../core/base/glob.ts';
import { type EnvoyId, newId } from '../../core/base/ids.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import { createEnvoyCertificate, validityOf } from '../../core/crypto/certificate.ts';
import { signFor, verifyFor } from '../../core/crypto/domain.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { FleetIndex } from '../fleet/fleet-index.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import type { EnvoyIdentity, EnvoyRow, Store, Tables } from '../store/store.ts';
import type { ProvenKey } from './request.ts';

export interface EnrollSettings {
  /** host:port that agents dial */
  readonly advertise: string;
  /** https address of the REST port, when agents are to use it whatever they enrolled at */
  readonly apiUrl: string | undefined;
  /** host:port of servers to try when this one does not answer */
  readonly fallback: readonly string[];
  readonly envoyCertDays: number;
  readonly pending: readonly string[];
  readonly onConflict: 'refuse' | 'approve';
}

export interface CreationParts {
  readonly store: Store;
  readonly fleet: FleetIndex;
  readonly identity: ServerIdentity;
  readonly trail: AuditTrail;
  readonly clock: Clock;
  readonly settings: EnrollSettings;
  /** index of the entry that matches a hostname in the live release, -1 for none */
  entryOf(hostname: string): number;
  dropConnections(envoyId: string): void;
  /** an envoy of this name is on its way here from another site */
  announces(hostname: string): boolean;
  /** the state of this site when its hub lets it take nobody */
  leaving(): string | undefined;
}

export type EnrollResult =
  | { readonly status: 'enrolled'; readonly reply: EnrollReply }
  | { readonly status: 'pending'; readonly enrollmentId: string };

/** What lets an envoy in: a token of this site, or the word of the server that spent one. */
export interface Credential {
  readonly labels: Readonly<Record<string, string>>;
  /** in the transaction that makes the envoy; a throw ends it */
  spend(tx: Tables, envoy: EnvoyIdentity): Promise<void>;
}

export interface Wanted {
  readonly request: EnrollRequest;
  readonly key: ProvenKey;
  readonly address: string;
  /** in place of the site's own */
  readonly fallback?: readonly string[] | undefined;
}

export class EnvoyCreation {
  readonly #parts: CreationParts;

  constructor(parts: CreationParts) {
    this.#parts = parts;
  }

  /**
   * @param credential undefined: no token was shown, the hostname must be one that may wait for an admin
   * @throws CodedError HOSTNAME_TAKEN, KEY_ALREADY_ENROLLED, TOKEN_UNKNOWN, BAD_CSR, SPOKE_UNAVAILABLE while fenced, SPOKE_DRAINING, and what `spend` throws: nothing was made then
   */
  async create(wanted: Wanted, credential: Credential | undefined): Promise<EnrollResult> {
    const { request, key, address } = wanted;
    const { clock } = this.#parts;
    const now = clock.now();
    if (this.#parts.fleet.fenced)
      throw new CodedError('SPOKE_UNAVAILABLE', 'this site was evacuated and enrols nobody', { hint: 'enrol at the hub' });
    const leaving = this.#parts.leaving();
    if (leaving !== undefined)
      throw new CodedError('SPOKE_DRAINING', `this site is ${leaving} and enrols nobody`, { hint: 'enrol at the hub' });
    if (this.#parts.announces(request.hostname))
      throw new CodedError('HOSTNAME_TAKEN', `an envoy of the name ${request.hostname} is moving to this site`);
    const existing = await this.#parts.store.envoys.byHostname(request.hostname);
    if (
      existing !== undefined &&
      (existing.status === 'active' || existing.status === 'pending') &&
      Buffer.from(existing.identityKey).equals(key.identityKey)
    ) {
      if (credential === undefined || existing.status === 'pending') return this.answerAgain(wanted, existing);
      throw new CodedError('KEY_ALREADY_ENROLLED', 'this key is enrolled already', {
        hint: 'nothing is to be done: the envoy can renew its certificate by itself',
      });
    }
    const proven =
      existing?.status === 'active' &&
      request.old_key_proof !== undefined &&
      verifyFor('enroll', existing.identityKey, key.signedBytes, Buffer.from(request.old_key_proof, 'base64'));
    const status = this.#decide(request, existing?.status === 'active', proven, credential !== undefined);
    const envoyId = newId(now);
    const certificate = await this.#certificate(envoyId, request.csr, now);
    const envoy: EnvoyIdentity = {
      id: envoyId,
      hostname: request.hostname,
      identityKey: key.identityKey,
      sealingKey: Buffer.from(request.sealing_key, 'base64'),
      status: status.status,
      ownerEpoch: 1,
      enrolledAt: now,
      certificateExpiresAt: validityOf(certificate).notAfter,
      platform: request.platform,
      agentVersion: request.agent_version,
      address,
      labels: credential?.labels ?? {},
      reason: status.reason,
    };
    await this.#commit(envoy, key, credential, proven ? existing?.id : undefined);
    if (status.status === 'pending') return { status: 'pending', enrollmentId: envoyId };
    return { status: 'enrolled', reply: this.#reply(envoyId, 1, certificate, wanted.fallback) };
  }

  /** For keys whose envoy is there: the same envoy with a fresh certificate, or that it still waits. */
  async answerAgain({ request, fallback }: Wanted, envoy: EnvoyRow): Promise<EnrollResult> {
    if (envoy.status === 'pending') return { status: 'pending', enrollmentId: envoy.id };
    const certificate = await this.#certificate(envoy.id, request.csr, this.#parts.clock.now());
    return { status: 'enrolled', reply: this.#reply(envoy.id, envoy.ownerEpoch, certificate, fallback) };
  }

  #certificate(envoyId: EnvoyId, csr: string, now: number): Promise<string> {
    const { identity, settings } = this.#parts;
    return createEnvoyCertificate(identity.siteCa, { fleetId: identity.fleetId, envoyId }, csr, settings.envoyCertDays, now);
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

  async #commit(envoy: EnvoyIdentity, key: ProvenKey, credential: Credential | undefined, replaces: EnvoyId | undefined): Promise<void> {
    const { store, trail, fleet } = this.#parts;
    const actor = { kind: 'envoy', id: envoy.id, name: envoy.hostname, address: envoy.address } as const;
    await store.transaction(async (tx) => {
      await credential?.spend(tx, envoy);
      if (replaces !== undefined) await tx.envoys.setStatus(replaces, 'revoked', 'replaced: re-enrolled with the proof of its old key');
      await tx.envoys.insert(envoy);
      await trail.record(tx, {
        actor,
        event: 'envoy.enrolled',
        target: { kind: 'envoy', id: envoy.id, name: envoy.hostname },
        outcome: 'ok',
        data: { status: envoy.status, key_fingerprint: key.fingerprint, platform: envoy.platform },
      });
    });
    if (replaces !== undefined) {
      const slot = fleet.slotOf(replaces);
      if (slot >= 0) fleet.revoke(slot);
      this.#parts.dropConnections(replaces);
    }
    fleet.assignEntry(fleet.insert(envoy), this.#parts.entryOf(envoy.hostname));
  }

  #reply(envoyId: EnvoyId, ownerEpoch: number, certificate: string, fallback: readonly string[] | undefined): EnrollReply {
    const { identity, settings } = this.#parts;
    const unsigned = {
      envoy_id: envoyId,
      fleet_id: identity.fleetId,
      site_id: identity.siteId,
      owner_epoch: ownerEpoch,
      server: settings.advertise,
      fallback_servers: [...(fallback ?? settings.fallback)],
      ...(settings.apiUrl === undefined ? {} : { api_url: settings.apiUrl }),
      certificate: certificate + identity.siteCa.certificate,
      ca_bundle: identity.rootCa,
      root_public_key: Buffer.from(identity.rootPublicKey).toString('base64'),
      delegation: identity.delegation,
    };
    return { ...unsigned, signature: signFor('enroll', identity.serverKey, canonicalBytes(unsigned)).toString('base64') };
  }
}
