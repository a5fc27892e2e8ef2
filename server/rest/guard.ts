/** Who asks: exactly one of an API token and the local socket (server.md §6.2). */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { userInfo } from 'node:os';
import { PERMISSIONS } from '../../core/api/permissions.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { ApiTokens } from '../access/api-tokens.ts';
import type { Principal } from '../access/permissions.ts';

const CLAIM = /^[A-Za-z0-9._@\\-]{1,64}$/;

/** Sockets that came in through `run/admin.sock`. */
export class LocalSockets {
  readonly #sockets = new WeakSet<Socket>();
  /** the server's own user owns the socket */
  readonly #owner = userInfo().username;

  add(socket: Socket): void {
    this.#sockets.add(socket);
  }

  has(socket: Socket): boolean {
    return this.#sockets.has(socket);
  }

  principal(claimedBy: string | undefined): Principal {
    const name = `local:${this.#owner}`;
    return {
      kind: 'local',
      id: name,
      name,
      role: 'admin',
      permissions: new Set(PERMISSIONS),
      address: 'local',
      ...(claimedBy !== undefined && CLAIM.test(claimedBy) ? { claimedBy } : {}),
    };
  }
}

export const NOBODY: Principal = { kind: 'user', id: '', name: '', role: '', permissions: new Set(), address: '' };

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** @throws CodedError UNAUTHENTICATED, AMBIGUOUS_AUTH */
export async function authenticate(
  request: IncomingMessage,
  address: string,
  parts: { readonly apiTokens: ApiTokens; readonly local: LocalSockets },
): Promise<Principal> {
  const authorization = header(request, 'authorization');
  const isLocal = parts.local.has(request.socket);
  const hasCookie = (header(request, 'cookie') ?? '').includes('__Host-vigo=');
  if (Number(authorization !== undefined) + Number(isLocal) + Number(hasCookie) > 1) {
    throw new CodedError('AMBIGUOUS_AUTH', 'the request authenticates in more than one way', {
      hint: isLocal ? 'the local socket needs no token' : 'send either a token or a session',
    });
  }
  if (isLocal) return parts.local.principal(header(request, 'x-vigo-claimed-by'));
  const match = /^Bearer ([\x21-\x7e]{1,256})$/i.exec(authorization ?? '');
  if (match === null)
    throw new CodedError('UNAUTHENTICATED', 'sign in first', { hint: 'vigocli auth set-token, or run it on the server itself' });
  return await parts.apiTokens.authenticate(match[1]!, address);
}
