/** Handlers of the session and of API tokens. */
import { type ApiTokenItem, createApiToken, getSession, listApiTokens, revokeApiToken } from '../../core/api/session.ts';
import { CodedError } from '../../core/base/errors.ts';
import { type Principal, requirePermission } from '../access/permissions.ts';
import type { ApiTokenRow, UserRow } from '../store/store.ts';
import { type Handler, handler } from './handler.ts';
import { timeText } from './pages.ts';
import type { RestParts } from './parts.ts';

function tokenItem(row: ApiTokenRow, user: string): ApiTokenItem {
  return {
    id: row.id,
    name: row.name,
    user,
    scopes: [...row.scopes],
    created_at: timeText(row.createdAt),
    expires_at: timeText(row.expiresAt),
    last_used_at: timeText(row.lastUsedAt),
    last_used_from: row.lastUsedFrom,
  };
}

export function sessionHandlers(parts: RestParts): readonly Handler[] {
  const { store, apiTokens } = parts;
  /** Own tokens need nothing; those of others, and everything a local principal does, need user.manage. */
  const ownerOf = async (principal: Principal, name: string | undefined): Promise<UserRow | undefined> => {
    if (principal.kind === 'local' && name === undefined) return undefined;
    const user = name === undefined ? await store.users.byId(principal.id) : await store.users.byName(name);
    if (name !== undefined && user?.id !== principal.id) requirePermission(principal, 'user.manage');
    if (user === undefined) throw new CodedError('NOT_FOUND', `no user ${name ?? principal.name}`);
    return user;
  };
  const find = async (principal: Principal, id: string): Promise<{ row: ApiTokenRow; user: string }> => {
    const row = await store.apiTokens.byId(id);
    const own = row !== undefined && row.userId === principal.id;
    // whose token it is stays hidden from those who may not manage users
    if (row === undefined || (!own && !principal.permissions.has('user.manage')))
      throw new CodedError('NOT_FOUND', `no API token ${id.slice(0, 80)}`);
    return { row, user: (await store.users.byId(row.userId))?.username ?? '' };
  };
  return [
    handler(getSession, ({ principal }) => ({
      kind: principal.kind,
      user: principal.name,
      role: principal.role,
      permissions: [...principal.permissions].sort(),
      scope: {},
      token_id: principal.tokenId ?? null,
      expires_at: timeText(principal.expiresAt ?? 0),
    })),
    handler(createApiToken, async ({ body, principal, requestId }) => {
      if (principal.kind === 'token') requirePermission(principal, 'user.manage');
      const owner = await ownerOf(principal, body.user);
      if (owner === undefined)
        throw new CodedError('BAD_REQUEST', 'a local principal owns no tokens: name the user', { hint: '--user <name>' });
      const { row, token } = await apiTokens.create(
        { name: body.name, lifeMs: body.expires_in_s * 1000, scopes: body.scopes, owner },
        principal,
        requestId,
      );
      return { ...tokenItem(row, owner.username), token };
    }),
    handler(listApiTokens, async ({ query, principal }) => {
      const owner = await ownerOf(principal, query.user);
      const names = new Map((await store.users.list()).map((user) => [user.id, user.username]));
      return { items: (await store.apiTokens.list(owner?.id)).map((row) => tokenItem(row, names.get(row.userId) ?? '')) };
    }),
    handler(
      revokeApiToken,
      async ({ params, principal, requestId }) => {
        await apiTokens.revoke((await find(principal, params.id)).row, principal, requestId);
        return { id: params.id, status: 'revoked' as const };
      },
      async ({ params, principal }) => {
        const { row, user } = await find(principal, params.id);
        return tokenItem(row, user);
      },
    ),
  ];
}
