/** Values for the references of a run: from memory, else one sealed request, else the kept sealed answer; never written in plain (config.md §9.4). */
import { z } from 'zod';
import { CodedError, messageOf } from '../core/base/errors.ts';
import type { Logger } from '../core/base/log.ts';
import type { Redactor } from '../core/base/redaction.ts';
import { SecretValue } from '../core/base/secret-value.ts';
import { secretsAad, secretsInfo, unseal } from '../core/crypto/hpke.ts';
import type { AgentIdentity } from './enroll/identity.ts';
import type { SealedAnswer, ServerLink } from './link/server-link.ts';
import type { KeptSecrets, StateStore } from './state/state-store.ts';

export type SecretLookup =
  | { readonly status: 'ok'; readonly value: SecretValue }
  | { readonly status: 'missing' | 'denied' | 'unavailable' };

const answerSchema = z.record(
  z.string(),
  z.object({ status: z.enum(['ok', 'missing', 'denied', 'unavailable']), value: z.string().optional() }),
);
const TIMEOUT_MS = 15_000;

export interface SecretRun {
  readonly bodySha256: string;
  readonly secretsEpoch: number;
  readonly refs: readonly string[];
  /** the site whose policy it is: secrets epochs of different sites cannot be compared */
  readonly siteId: string;
}

export interface SecretSourceParts {
  readonly identity: AgentIdentity;
  readonly state: StateStore;
  readonly redactor: Redactor;
  readonly log: Logger;
}

export class SecretSource {
  readonly #parts: SecretSourceParts;
  #memory: { readonly siteId: string; readonly epoch: number; readonly values: ReadonlyMap<string, SecretLookup> } | undefined;

  constructor(parts: SecretSourceParts) {
    this.#parts = parts;
  }

  /** Every reference gets an answer; an unreachable server gives `unavailable` for what is not at hand. */
  async forRun(run: SecretRun, link: ServerLink | undefined, signal: AbortSignal): Promise<ReadonlyMap<string, SecretLookup>> {
    if (run.refs.length === 0) return new Map();
    if (this.#holds(run)) return this.#memory!.values;
    const kept = this.#parts.state.secrets.kept();
    const isOwn = kept !== undefined && (kept.site_id ?? this.#parts.identity.siteId) === run.siteId;
    if (isOwn && kept.secrets_epoch !== run.secretsEpoch) await this.#parts.state.secrets.keep(undefined);
    const usable =
      kept !== undefined && (!isOwn || kept.secrets_epoch === run.secretsEpoch) && run.refs.every((ref) => kept.refs.includes(ref));
    const values = usable && isOwn ? await this.#openKept(kept) : undefined;
    const asked = values ?? (link === undefined ? undefined : await this.#ask(run, link, signal));
    // what the owner before has sealed serves until this one answers
    const opened = asked ?? (usable && !isOwn ? await this.#openKept(kept) : undefined);
    if (opened === undefined) return new Map(run.refs.map((ref) => [ref, { status: 'unavailable' }]));
    for (const lookup of opened.values()) if (lookup.status === 'ok') this.#parts.redactor.add(lookup.value.reveal());
    // an answer with gaps, or of another site, is used for this run and asked for again in the next
    if (asked !== undefined && [...opened.values()].every(({ status }) => status !== 'unavailable'))
      this.#memory = { siteId: run.siteId, epoch: run.secretsEpoch, values: opened };
    return opened;
  }

  #holds(run: SecretRun): boolean {
    return (
      this.#memory?.siteId === run.siteId &&
      this.#memory.epoch === run.secretsEpoch &&
      run.refs.every((ref) => this.#memory?.values.has(ref))
    );
  }

  async #ask(run: SecretRun, link: ServerLink, signal: AbortSignal): Promise<ReadonlyMap<string, SecretLookup> | undefined> {
    let answer: SealedAnswer;
    try {
      answer = await link.resolveSecrets(run.bodySha256, run.refs, AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]));
    } catch (thrown) {
      this.#parts.log.warn('secrets could not be resolved', {
        error: messageOf(thrown),
        code: thrown instanceof CodedError ? thrown.code : undefined,
      });
      return undefined;
    }
    const kept: KeptSecrets = {
      enc: Buffer.from(answer.enc).toString('base64'),
      ct: Buffer.from(answer.ct).toString('base64'),
      nonce: Buffer.from(answer.nonce).toString('base64'),
      body_sha256: run.bodySha256,
      secrets_epoch: answer.secretsEpoch,
      refs: [...run.refs],
      site_id: answer.siteId,
    };
    const opened = await this.#openKept(kept);
    if (opened !== undefined && answer.secretsEpoch === run.secretsEpoch) await this.#parts.state.secrets.keep(kept);
    return opened;
  }

  async #openKept(kept: KeptSecrets): Promise<ReadonlyMap<string, SecretLookup> | undefined> {
    const { identity, log } = this.#parts;
    const info = secretsInfo(identity.fleetId, identity.envoyId, kept.site_id ?? identity.siteId);
    const aad = secretsAad(Buffer.from(kept.nonce, 'base64'), Buffer.from(kept.body_sha256, 'hex'), kept.secrets_epoch);
    for (const key of identity.sealingKeys) {
      try {
        const plaintext = await unseal(key, info, aad, { enc: Buffer.from(kept.enc, 'base64'), ct: Buffer.from(kept.ct, 'base64') });
        const answer = answerSchema.parse(JSON.parse(plaintext.toString('utf8')));
        plaintext.fill(0);
        return new Map(
          Object.entries(answer).map(([ref, { status, value }]) => [
            ref,
            status === 'ok' ? { status, value: new SecretValue(Buffer.from(value ?? '', 'base64').toString('utf8')) } : { status },
          ]),
        );
      } catch {
        // sealed for an older key: the next one may fit; if none does it is reported below
      }
    }
    log.error('a sealed answer could not be opened', { code: 'SECRETS_UNAVAILABLE' });
    return undefined;
  }

  /** A revoked envoy forgets what it knows. */
  async forget(): Promise<void> {
    this.#memory = undefined;
    this.#parts.redactor.clear();
    await this.#parts.state.secrets.keep(undefined);
  }
}
