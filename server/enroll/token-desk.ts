/** Looks at the token that a request shows: known, alive, for this hostname, and its secret. Also what is said of one that is spent. */
import type { EnrollRequest } from '../../core/api/enroll.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { compileGlob } from '../../core/base/glob.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { EnrollTokenRow, Store } from '../store/store.ts';
import type { Bcrypt } from './bcrypt.ts';
import { type ProvenKey, provenKey, requireClock, requireHostname } from './request.ts';
import { type ParsedToken, parseToken } from './tokens.ts';

/** For so long the keys that spent a token get their answer again. */
export const RETRY_MS = 15 * 60_000;
/** A hash nobody knows the secret of: unknown tokens cost the same time as wrong ones. */
const DUMMY_HASH = '$2b$12$C6UzMDM.H6dfI/f/IKcEeO7ZbQ6p3Kk9pB1u1vQyqgL1mS1mF8s3K';

export interface TokenDeskParts {
  readonly store: Store;
  readonly bcrypt: Bcrypt;
  readonly trail: AuditTrail;
  readonly clock: Clock;
  /** environment of the entry that matches a hostname, null without */
  environmentOf(hostname: string): string | null;
}

/** A request whose claims hold, with the token it showed, if any. */
export interface CheckedRequest {
  readonly key: ProvenKey;
  readonly token: EnrollTokenRow | undefined;
}

export class TokenDesk {
  readonly #parts: TokenDeskParts;

  constructor(parts: TokenDeskParts) {
    this.#parts = parts;
  }

  /**
   * Cheap things first, bcrypt last; nothing is written.
   * @throws CodedError HOSTNAME_INVALID, CLOCK_SKEW, TOKEN_UNKNOWN, TOKEN_REVOKED, TOKEN_EXPIRED, TOKEN_HOSTNAME_MISMATCH, WEAK_KEY, BAD_PROOF, OVERLOADED
   */
  async check(request: EnrollRequest): Promise<CheckedRequest> {
    const now = this.#parts.clock.now();
    requireHostname(request.hostname);
    requireClock(request.timestamp_ms, now);
    const shown = request.token === undefined ? undefined : await this.#find(request.token, request.hostname, now);
    const key = provenKey(request);
    if (shown !== undefined && !(await this.#parts.bcrypt.matches(shown.parsed.secret, shown.row.secretHash))) throw unknownToken();
    return { key, token: shown?.row };
  }

  async #find(text: string, hostname: string, now: number): Promise<{ readonly parsed: ParsedToken; readonly row: EnrollTokenRow }> {
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

  /** Whether the keys that show a spent token are those that spent it, a moment ago, for the same hostname. */
  isRetry({ spent }: EnrollTokenRow, key: ProvenKey, hostname: string): boolean {
    return (
      spent !== undefined &&
      spent.keyFingerprint === key.fingerprint &&
      spent.hostname === hostname &&
      this.#parts.clock.now() - spent.at < RETRY_MS
    );
  }

  /** Records who shows a spent token. @throws CodedError TOKEN_ALREADY_SPENT always */
  async refuseSpent(row: EnrollTokenRow, hostname: string, key: ProvenKey, address: string): Promise<never> {
    const { store, trail } = this.#parts;
    const spent = row.spent!;
    await store.transaction((tx) =>
      trail.record(tx, {
        actor: { kind: 'envoy', id: '', name: hostname, address },
        event: 'token.misused',
        target: { kind: 'token', id: row.id, name: row.pattern },
        outcome: 'denied',
        data: {
          spent_by: spent.hostname,
          spent_from: spent.address,
          spent_key: spent.keyFingerprint,
          spent_at: new Date(spent.at).toISOString(),
          key_fingerprint: key.fingerprint,
        },
      }),
    );
    throw new CodedError('TOKEN_ALREADY_SPENT', 'the enrolment token is spent', {
      hint: 'each token works once; the audit log says who used it',
    });
  }
}

function unknownToken(): CodedError {
  return new CodedError('TOKEN_UNKNOWN', 'the enrolment token is not known');
}
