/** Enrolment tokens: `vgt_<id>_<secret>_<pin>`; the id finds the row, the secret is bcrypt-hashed at rest, the pin authenticates the server to the envoy. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { compileGlob } from '../../core/base/glob.ts';
import type { Actor } from '../audit/record.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { Store, Tables } from '../store/store.ts';
import type { Bcrypt } from './bcrypt.ts';

export interface ParsedToken {
  readonly id: string;
  readonly secret: string;
  readonly pin: string;
}

const TOKEN = /^vgt_([0-9a-z]{16})_([0-9a-f]{48})_([0-9a-f]{64})$/;

/** @throws CodedError TOKEN_UNKNOWN: a malformed token tells no more than a wrong one */
export function parseToken(text: string): ParsedToken {
  const match = TOKEN.exec(text.trim());
  if (match === null) throw new CodedError('TOKEN_UNKNOWN', 'the enrolment token is not known');
  return { id: match[1]!, secret: match[2]!, pin: match[3]! };
}

const MAX_TTL_MS = 30 * 86_400_000;

export interface NewToken {
  readonly pattern: string;
  readonly ttlMs: number;
  readonly environment?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly note?: string | undefined;
  /** of a hub: only for hostnames that are enrolled there */
  readonly spoke?: string | undefined;
}

export interface MadeToken {
  readonly id: string;
  readonly token: string;
  readonly expiresAt: number;
}

/** What a spoke needs for each token that it makes. */
export interface PermitBook {
  /** @throws CodedError PRECONDITION_FAILED when fewer are left */
  require(count: number): Promise<void>;
  /** Uses one up in the transaction that makes the token; the token ends with it at the latest. @throws CodedError PRECONDITION_FAILED */
  take(tx: Tables, tokenId: string, pattern: string): Promise<{ readonly id: string; readonly notAfter: number }>;
  left(): Promise<number>;
  /** some were used */
  used(): void;
}

export class EnrollTokens {
  readonly #parts: {
    readonly store: Store;
    readonly bcrypt: Bcrypt;
    readonly trail: AuditTrail;
    readonly clock: Clock;
    readonly cost: number;
    readonly pin: string;
  };

  constructor(parts: {
    readonly store: Store;
    readonly bcrypt: Bcrypt;
    readonly trail: AuditTrail;
    readonly clock: Clock;
    readonly cost: number;
    readonly pin: string;
  }) {
    this.#parts = parts;
  }

  /** a spoke makes none without its hub's permit */
  permits: PermitBook | undefined;

  /** As {@link create}, all or none for lack of permits. */
  async createMany(count: number, wanted: NewToken, actor: Actor): Promise<readonly MadeToken[]> {
    await this.permits?.require(count);
    const made: MadeToken[] = [];
    try {
      for (let each = 0; each < count; each++) made.push(await this.create(wanted, actor));
    } finally {
      if (made.length > 0) this.permits?.used();
    }
    return made;
  }

  /** The text is shown once and never stored. @throws CodedError BAD_REQUEST for a bad pattern or lifetime, PRECONDITION_FAILED without a permit */
  async create(wanted: NewToken, actor: Actor): Promise<MadeToken> {
    const { store, bcrypt, trail, clock, cost, pin } = this.#parts;
    compileGlob(wanted.pattern);
    if (wanted.ttlMs <= 0 || wanted.ttlMs > MAX_TTL_MS)
      throw new CodedError('BAD_REQUEST', 'the lifetime of a token is between 1 second and 30 days');
    const id = randomBytes(8).toString('hex');
    const secret = randomBytes(24).toString('hex');
    const now = clock.now();
    const secretHash = await bcrypt.hash(secret, cost);
    const expiresAt = await store.transaction(async (tx) => {
      const permit = await this.permits?.take(tx, id, wanted.pattern);
      const end = Math.min(now + wanted.ttlMs, permit?.notAfter ?? Infinity);
      await tx.tokens.add({
        id,
        secretHash,
        pattern: wanted.pattern,
        environment: wanted.environment ?? '',
        labels: wanted.labels ?? {},
        note: wanted.note ?? '',
        spoke: wanted.spoke ?? '',
        permit: permit?.id ?? '',
        createdBy: actor.name,
        createdAt: now,
        expiresAt: end,
      });
      await trail.record(tx, {
        actor,
        event: 'token.created',
        target: { kind: 'token', id, name: wanted.pattern },
        outcome: 'ok',
        data: {
          expires_at: new Date(end).toISOString(),
          ...(permit === undefined ? {} : { permit: permit.id }),
          ...(wanted.spoke === undefined ? {} : { spoke: wanted.spoke }),
        },
      });
      return end;
    });
    return { id, token: `vgt_${id}_${secret}_${pin}`, expiresAt };
  }

  /** @throws CodedError NOT_FOUND when unknown, spent or revoked already */
  async revoke(id: string, actor: Actor): Promise<void> {
    const { store, trail, clock } = this.#parts;
    await store.transaction(async (tx) => {
      if (!(await tx.tokens.revoke(id, clock.now()))) throw new CodedError('NOT_FOUND', `no active token ${id}`);
      await trail.record(tx, { actor, event: 'token.revoked', target: { kind: 'token', id, name: id }, outcome: 'ok' });
    });
  }
}
