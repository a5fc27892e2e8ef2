/** Tokens of the API: `vgot_<id>_<secret>`, hashed at rest, owner's role ∩ scopes at the time of use (server.md §7.4). */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { isRoutePermission, type Permission } from '../../core/api/permissions.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { ApiTokenRow, Store, UserRow } from '../store/store.ts';
import { actorOf, type Principal } from './permissions.ts';
import { permissionsOf } from './roles.ts';

const TOKEN = /^vgot_([0-9a-f]{16})_([0-9a-f]{64})$/;
const MINUTE_MS = 60_000;

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function sameHash(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(a, 'hex'), Buffer.from(b, 'hex'));
}

export interface NewApiToken {
  readonly name: string;
  readonly lifeMs: number;
  /** empty: all of the owner's role */
  readonly scopes: readonly Permission[];
  readonly owner: UserRow;
}

export class ApiTokens {
  readonly #parts: {
    readonly store: Store;
    readonly trail: AuditTrail;
    readonly clock: Clock;
    readonly maxTtlMs: number;
    readonly maxPerUser: number;
  };

  constructor(parts: {
    readonly store: Store;
    readonly trail: AuditTrail;
    readonly clock: Clock;
    readonly maxTtlMs: number;
    readonly maxPerUser: number;
  }) {
    this.#parts = parts;
  }

  /** The text is shown once and never stored. @throws CodedError BAD_REQUEST */
  async create(wanted: NewApiToken, by: Principal, requestId: string): Promise<{ readonly row: ApiTokenRow; readonly token: string }> {
    const { store, trail, clock, maxTtlMs, maxPerUser } = this.#parts;
    if (wanted.lifeMs > maxTtlMs)
      throw new CodedError('BAD_REQUEST', `a token lives at most ${Math.floor(maxTtlMs / 3_600_000)} hours`, {
        hint: 'auth.api_tokens.max_ttl',
      });
    const now = clock.now();
    const id = randomBytes(8).toString('hex');
    const secret = randomBytes(32).toString('hex');
    const row = {
      id,
      name: wanted.name,
      userId: wanted.owner.id,
      secretHash: hashOf(secret),
      scopes: [...wanted.scopes],
      createdAt: now,
      expiresAt: now + wanted.lifeMs,
    };
    await store.transaction(async (tx) => {
      const held = (await tx.apiTokens.list(wanted.owner.id)).filter((each) => each.expiresAt > now);
      if (held.length >= maxPerUser)
        throw new CodedError('BAD_REQUEST', `${wanted.owner.username} holds ${held.length} tokens already`, {
          hint: 'revoke one: vigocli auth list-tokens',
        });
      await tx.apiTokens.add(row);
      await trail.record(tx, {
        actor: actorOf(by),
        event: 'auth.token_created',
        target: { kind: 'api-token', id, name: wanted.name },
        outcome: 'ok',
        requestId,
        data: { user: wanted.owner.username, scopes: [...wanted.scopes], expires_at: new Date(row.expiresAt).toISOString() },
      });
    });
    return { row: { ...row, lastUsedAt: 0, lastUsedFrom: '' }, token: `vgot_${id}_${secret}` };
  }

  /** @throws CodedError NOT_FOUND */
  async revoke(row: ApiTokenRow, by: Principal, requestId: string): Promise<void> {
    const { store, trail } = this.#parts;
    await store.transaction(async (tx) => {
      if (!(await tx.apiTokens.remove(row.id))) throw new CodedError('NOT_FOUND', `no API token ${row.id}`);
      await trail.record(tx, {
        actor: actorOf(by),
        event: 'auth.token_revoked',
        target: { kind: 'api-token', id: row.id, name: row.name },
        outcome: 'ok',
        requestId,
        data: {},
      });
    });
  }

  /** Who holds the token. @throws CodedError UNAUTHENTICATED, the same for every reason */
  async authenticate(text: string, address: string): Promise<Principal> {
    const { store, clock } = this.#parts;
    const refused = new CodedError('UNAUTHENTICATED', 'the API token is not valid', { hint: 'vigocli auth set-token stores another one' });
    const match = TOKEN.exec(text);
    if (match === null) throw refused;
    const row = await store.apiTokens.byId(match[1]!);
    const now = clock.now();
    // an unknown id costs the same comparison
    const matches = sameHash(hashOf(match[2]!), row?.secretHash ?? hashOf('nobody'));
    if (row === undefined || !matches || row.expiresAt <= now) throw refused;
    const owner = await store.users.byId(row.userId);
    if (owner === undefined || !owner.enabled) throw refused;
    if (Object.keys(owner.scope).length > 0)
      throw new CodedError('PERMISSION_DENIED', 'users with a scope cannot use this build of the server', {
        hint: 'a scope limits which envoys are seen; it is not supported yet',
      });
    if (now - row.lastUsedAt >= MINUTE_MS || row.lastUsedFrom !== address) await store.apiTokens.used(row.id, now, address);
    return {
      kind: 'token',
      id: owner.id,
      name: owner.username,
      role: owner.role,
      permissions: this.#permissions(row, owner),
      tokenId: row.id,
      expiresAt: row.expiresAt,
      address,
    };
  }

  #permissions(row: ApiTokenRow, owner: UserRow): ReadonlySet<Permission> {
    const role = permissionsOf(owner.role);
    if (row.scopes.length === 0) return new Set([...role].filter((permission) => permission !== 'user.manage'));
    return new Set(row.scopes.filter((scope): scope is Permission => isRoutePermission(scope) && role.has(scope as Permission)));
  }
}
