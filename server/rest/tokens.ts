/** Handlers of enrolment tokens. */
import { createTokens, getToken, listTokens, revokeToken, type TokenItem } from '../../core/api/tokens.ts';
import { CodedError } from '../../core/base/errors.ts';
import { actorOf } from '../access/permissions.ts';
import type { EnrollTokenRow } from '../store/store.ts';
import { type Handler, handler } from './handler.ts';
import { page, readCursor, timeText, writeCursor } from './pages.ts';
import type { RestParts } from './parts.ts';

function stateOf(row: EnrollTokenRow, now: number): TokenItem['state'] {
  if (row.revokedAt > 0) return 'revoked';
  if (row.spent !== undefined) return 'spent';
  return row.expiresAt <= now ? 'expired' : 'active';
}

function tokenItem(row: EnrollTokenRow, now: number): TokenItem {
  return {
    id: row.id,
    pattern: row.pattern,
    state: stateOf(row, now),
    environment: row.environment,
    labels: { ...row.labels },
    note: row.note,
    spoke: row.spent?.site || row.spoke,
    created_at: timeText(row.createdAt),
    created_by: row.createdBy,
    expires_at: timeText(row.expiresAt),
    spent_by: row.spent?.hostname ?? null,
  };
}

/** @throws CodedError BAD_REQUEST at servers that enrol for themselves alone */
function requireSpoke({ settings }: RestParts, spoke: string): void {
  if (settings.spanner.role !== 'hub')
    throw new CodedError('BAD_REQUEST', `this server does not enrol for other sites, so not for ${spoke}`, {
      hint: 'make the token at the hub',
    });
}

export function tokenHandlers(parts: RestParts): readonly Handler[] {
  const { store, clock } = parts;
  const find = async (id: string): Promise<EnrollTokenRow> => {
    const row = await store.tokens.byId(id);
    if (row === undefined) throw new CodedError('NOT_FOUND', `no enrolment token ${id.slice(0, 80)}`);
    return row;
  };
  return [
    handler(createTokens, async ({ body, principal }) => {
      const { spoke } = body;
      if (spoke !== undefined) requireSpoke(parts, spoke);
      const made = await parts.tokens.createMany(
        body.count,
        {
          pattern: body.pattern,
          ttlMs: body.ttl_s === undefined ? parts.settings.enrollment.token_ttl : body.ttl_s * 1000,
          environment: body.environment,
          labels: body.labels,
          note: body.note,
          spoke,
        },
        actorOf(principal),
      );
      const items = made.map(({ id, token, expiresAt }) => ({ id, pattern: body.pattern, expires_at: timeText(expiresAt), token }));
      const left = await parts.tokens.permits?.left();
      return {
        items,
        bootstrap: `vigo register --api-addr ${parts.settings.server.public_url} --token-file <file with the token>`,
        ...(left === undefined ? {} : { permits_left: left }),
      };
    }),
    handler(listTokens, async ({ query }) => {
      const now = clock.now();
      let before = readCursor('tokens', query.cursor, 'string', now);
      const items: TokenItem[] = [];
      for (;;) {
        const rows = await store.tokens.list(query.limit, before);
        for (const row of rows) {
          const item = tokenItem(row, now);
          if (query.state === undefined || item.state === query.state) items.push(item);
          before = row.id;
          if (items.length >= query.limit) return page(items, writeCursor('tokens', row.id, now));
        }
        if (rows.length < query.limit) return page(items, null);
      }
    }),
    handler(getToken, async ({ params }) => tokenItem(await find(params.id), clock.now())),
    handler(
      revokeToken,
      async ({ params, principal }) => {
        await parts.tokens.revoke(params.id, actorOf(principal));
        return { id: params.id, status: 'revoked' as const };
      },
      async ({ params }) => tokenItem(await find(params.id), clock.now()),
    ),
  ];
}
