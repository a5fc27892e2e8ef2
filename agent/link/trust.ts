/** The server keys an agent believes: delegations that end at the pinned root key, minus what the root has revoked. */
import { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { openDelegation, openRevocation, type SignedRecord, type TrustedKey } from '../../core/crypto/delegation.ts';
import { verifyFor } from '../../core/crypto/domain.ts';
import { type Grant, openGrant, type SignedGrant } from '../../core/policy/ownership.ts';
import type { StateStore } from '../state/state-store.ts';

const signedRevocationSchema = z.object({ record: z.string(), signature: z.string(), key_id: z.string() });

export class TrustStore {
  readonly #rootPublicKey: Uint8Array;
  readonly #fleetId: string;
  readonly #facts: StateStore['facts'];
  readonly #keys = new Map<string, TrustedKey>();
  readonly #records = new Map<string, SignedRecord>();
  readonly revokedSerials = new Set<string>();

  constructor(parts: { readonly rootPublicKey: Uint8Array; readonly fleetId: string; readonly facts: StateStore['facts'] }) {
    this.#rootPublicKey = parts.rootPublicKey;
    this.#fleetId = parts.fleetId;
    this.#facts = parts.facts;
    for (const record of parts.facts.get('delegations') ?? []) this.#recall(() => this.#add(record));
    for (const record of parts.facts.get('revocations') ?? [])
      this.#recall(() => this.revokedSerials.add(openRevocation(this.#rootPublicKey, record).serial));
  }

  /** What a root signed that another one has succeeded counts no more. */
  #recall(take: () => unknown): void {
    try {
      take();
    } catch (thrown) {
      if (!(thrown instanceof CodedError) || thrown.code !== 'BUNDLE_REJECTED') throw thrown;
    }
  }

  #add(record: SignedRecord): TrustedKey {
    const key = openDelegation(this.#rootPublicKey, this.#fleetId, record);
    this.#keys.set(key.keyId, key);
    this.#records.set(key.keyId, record);
    return key;
  }

  /** Keys whose delegation need not be sent along: one in the last third of its life is asked for anew. */
  keyIds(now: number): readonly string[] {
    return [...this.#keys].flatMap(
      ([
        id,
        {
          delegation: { not_before: from, not_after: until },
        },
      ]) => (now >= from && now < from + ((until - from) * 2) / 3 ? [id] : []),
    );
  }

  key(keyId: string): TrustedKey | undefined {
    return this.#keys.get(keyId);
  }

  /** Verifies, then persists. @throws CodedError BUNDLE_REJECTED */
  async learn(record: SignedRecord): Promise<TrustedKey> {
    const before = [...this.#records.values()].find((held) => held.record === record.record);
    const key = this.#add(record);
    if (before !== undefined) return key;
    await this.#facts.set('delegations', [...this.#records.values()]);
    return key;
  }

  /** @throws CodedError BUNDLE_REJECTED when no server that may say who owns an envoy has signed it */
  openGrant(signed: SignedGrant): Grant {
    return openGrant(signed, { rootPublicKey: this.#rootPublicKey, fleetId: this.#fleetId, revokedSerials: this.revokedSerials });
  }

  /** A revocation is kept for good. */
  async learnRevocations(records: readonly SignedRecord[]): Promise<void> {
    const fresh = records.filter((record) => !this.revokedSerials.has(openRevocation(this.#rootPublicKey, record).serial));
    if (fresh.length === 0) return;
    await this.#facts.set('revocations', [...(this.#facts.get('revocations') ?? []), ...fresh]);
    for (const record of fresh) this.revokedSerials.add(openRevocation(this.#rootPublicKey, record).serial);
  }

  /** True when the error carries the signed word of a server of the fleet that this very envoy is revoked. */
  isSignedRevocation(error: CodedError, envoyId: string): boolean {
    const parsed = signedRevocationSchema.safeParse(error.details?.['signed']);
    if (!parsed.success) return false;
    const key = this.#keys.get(parsed.data.key_id);
    if (key === undefined || this.revokedSerials.has(key.delegation.serial)) return false;
    if (!verifyFor('checkInReply', key.publicKey, Buffer.from(parsed.data.record), Buffer.from(parsed.data.signature, 'base64')))
      return false;
    const word = JSON.parse(parsed.data.record) as { code?: unknown; envoy_id?: unknown };
    return word.code === 'REVOKED' && word.envoy_id === envoyId;
  }
}
