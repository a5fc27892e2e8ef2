/** Enrolment with tokens of this site (server.md §6.6): token, keys, proof, then one transaction that spends the token, creates the envoy and records it. */
import type { EnrollReply, EnrollRequest } from '../../core/api/enroll.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { EnrollTokenRow, EnvoyIdentity, Store, Tables } from '../store/store.ts';
import type { Credential, EnrollResult, EnvoyCreation, Wanted } from './creation.ts';
import { keyFingerprint } from './request.ts';
import { RETRY_MS, type TokenDesk } from './token-desk.ts';

export interface EnrollParts {
  readonly store: Store;
  readonly trail: AuditTrail;
  readonly clock: Clock;
  readonly desk: TokenDesk;
  readonly creation: EnvoyCreation;
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
    const { desk, creation, clock } = this.#parts;
    const { key, token } = await desk.check(request);
    const wanted = { request, key, address };
    const name = `${token?.id ?? ''}/${key.fingerprint}`;
    const answered = this.#answers.get(name);
    if (answered !== undefined && clock.now() - answered.at < RETRY_MS) return { status: 'enrolled', reply: answered.reply };
    const result =
      token === undefined
        ? await creation.create(wanted, undefined)
        : token.spent === undefined
          ? await this.#spending(wanted, token)
          : await this.#again(wanted, token);
    if (result.status === 'enrolled') this.#remember(name, result.reply);
    return result;
  }

  async #spending(wanted: Wanted, token: EnrollTokenRow): Promise<EnrollResult> {
    try {
      return await this.#parts.creation.create(wanted, this.#credential(token));
    } catch (thrown) {
      // somebody was faster with the same token: told and recorded like anybody who comes later
      const row =
        thrown instanceof CodedError && thrown.code === 'TOKEN_ALREADY_SPENT' ? await this.#parts.store.tokens.byId(token.id) : undefined;
      if (row?.spent === undefined) throw thrown;
      return await this.#again(wanted, row);
    }
  }

  #credential({ id, pattern, labels }: EnrollTokenRow): Credential {
    const { trail, clock } = this.#parts;
    return {
      labels,
      async spend(tx: Tables, envoy: EnvoyIdentity) {
        const { hostname, address } = envoy;
        const use = { envoyId: envoy.id, hostname, keyFingerprint: keyFingerprint(envoy.identityKey), address, at: clock.now(), site: '' };
        if (!(await tx.tokens.spend(id, use)))
          throw new CodedError('TOKEN_ALREADY_SPENT', 'the enrolment token was spent a moment ago by somebody else');
        await trail.record(tx, {
          actor: { kind: 'envoy', id: envoy.id, name: hostname, address },
          event: 'token.spent',
          target: { kind: 'token', id, name: pattern },
          outcome: 'ok',
        });
      },
    };
  }

  /** The token is spent: the same keys within 15 minutes get their answer again, anybody else is told and recorded. */
  async #again(wanted: Wanted, row: EnrollTokenRow): Promise<EnrollResult> {
    const { desk, creation, store } = this.#parts;
    const { request, key, address } = wanted;
    const { spent } = row;
    if (spent !== undefined && spent.envoyId !== '' && desk.isRetry(row, key, request.hostname)) {
      const envoy = await store.envoys.byId(spent.envoyId);
      if (envoy?.status === 'active' || envoy?.status === 'pending') return await creation.answerAgain(wanted, envoy);
    }
    return await desk.refuseSpent(row, request.hostname, key, address);
  }

  #remember(name: string, reply: EnrollReply): void {
    const now = this.#parts.clock.now();
    for (const [key, { at }] of this.#answers) if (now - at >= RETRY_MS) this.#answers.delete(key);
    this.#answers.set(name, { at: now, reply });
  }
}
