/** Who asks, and what they may do; worked out anew for every request. */

import type { Permission } from '../../core/api/permissions.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { Actor } from '../audit/record.ts';

export interface Principal {
  readonly kind: 'token' | 'local' | 'user' | 'envoy';
  readonly id: string;
  /** user name, or `local:<owner of the socket>` */
  readonly name: string;
  readonly role: string;
  readonly permissions: ReadonlySet<Permission>;
  readonly tokenId?: string | undefined;
  /** milliseconds since 1970; undefined: has no end */
  readonly expiresAt?: number | undefined;
  readonly address: string;
  /** what a local caller says to be: recorded, never trusted */
  readonly claimedBy?: string | undefined;
}

/** @throws CodedError PERMISSION_DENIED naming the permission */
export function requirePermission(principal: Principal, permission: Permission): void {
  if (principal.permissions.has(permission)) return;
  throw new CodedError('PERMISSION_DENIED', `${principal.name} lacks the permission ${permission}`, {
    details: { permission, user: principal.name },
  });
}

export function actorOf(principal: Principal): Actor {
  const { kind, id, name, address, claimedBy } = principal;
  return { kind, id, name, address, ...(claimedBy === undefined ? {} : { claimedBy }) };
}
