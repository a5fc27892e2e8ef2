/** Users and their API tokens. */
import type { Kysely } from 'kysely';
import { CodedError } from '../../core/base/errors.ts';
import type { JsonObject } from '../../core/base/json.ts';
import { isDuplicate } from './failures.ts';
import type { Schema } from './schema.ts';
import type { ApiTokenRow, ApiTokenStore, UserRow, UserStore } from './store.ts';

function toUser(row: Schema['users']): UserRow {
  return {
    id: row.id,
    username: row.username,
    displayName: row.display_name,
    email: row.email,
    role: row.role,
    enabled: row.enabled === 1,
    passwordHash: row.password_hash,
    scope: JSON.parse(row.scope) as JsonObject,
    createdAt: row.created_at,
    lastLoginAt: row.last_login_at,
  };
}

function toColumns(user: Partial<UserRow>): Partial<Schema['users']> {
  const all = {
    display_name: user.displayName,
    email: user.email,
    role: user.role,
    enabled: user.enabled === undefined ? undefined : user.enabled ? 1 : 0,
    password_hash: user.passwordHash,
    scope: user.scope === undefined ? undefined : JSON.stringify(user.scope),
    created_at: user.createdAt,
    last_login_at: user.lastLoginAt,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

export function userStore(db: Kysely<Schema>): UserStore {
  const one = async (column: 'id' | 'username', value: string): Promise<UserRow | undefined> => {
    const row = await db.selectFrom('users').selectAll().where(column, '=', value).executeTakeFirst();
    return row === undefined ? undefined : toUser(row);
  };
  return {
    async add(user) {
      try {
        await db
          .insertInto('users')
          .values({ ...(toColumns(user) as Schema['users']), id: user.id, username: user.username })
          .execute();
      } catch (thrown) {
        if (isDuplicate(thrown)) throw new CodedError('BAD_REQUEST', `there is a user ${user.username} already`, { cause: thrown });
        throw thrown;
      }
    },
    byId: (id) => one('id', id),
    byName: (username) => one('username', username),
    async list() {
      return (await db.selectFrom('users').selectAll().orderBy('username').execute()).map(toUser);
    },
    async update(id, change) {
      const columns = toColumns(change);
      if (Object.keys(columns).length === 0) return false;
      const [result] = await db.updateTable('users').set(columns).where('id', '=', id).execute();
      return (result?.numUpdatedRows ?? 0n) > 0n;
    },
    async remove(id) {
      await db.deleteFrom('api_tokens').where('user_id', '=', id).execute();
      const [result] = await db.deleteFrom('users').where('id', '=', id).execute();
      return (result?.numDeletedRows ?? 0n) > 0n;
    },
  };
}

function toToken(row: Schema['api_tokens']): ApiTokenRow {
  return {
    id: row.id,
    name: row.name,
    userId: row.user_id,
    secretHash: row.secret_hash,
    scopes: JSON.parse(row.scopes) as string[],
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
    lastUsedFrom: row.last_used_from,
  };
}

export function apiTokenStore(db: Kysely<Schema>): ApiTokenStore {
  return {
    async add(token) {
      await db
        .insertInto('api_tokens')
        .values({
          id: token.id,
          name: token.name,
          user_id: token.userId,
          secret_hash: token.secretHash,
          scopes: JSON.stringify(token.scopes),
          created_at: token.createdAt,
          expires_at: token.expiresAt,
          last_used_at: 0,
          last_used_from: '',
        })
        .execute();
    },
    async byId(id) {
      const row = await db.selectFrom('api_tokens').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : toToken(row);
    },
    async list(userId) {
      let query = db.selectFrom('api_tokens').selectAll().orderBy('created_at').orderBy('id');
      if (userId !== undefined) query = query.where('user_id', '=', userId);
      return (await query.execute()).map(toToken);
    },
    async remove(id) {
      const [result] = await db.deleteFrom('api_tokens').where('id', '=', id).execute();
      return (result?.numDeletedRows ?? 0n) > 0n;
    },
    async used(id, at, address) {
      await db.updateTable('api_tokens').set({ last_used_at: at, last_used_from: address }).where('id', '=', id).execute();
    },
  };
}
