/** The built-in roles (server.md §7.2). */
import { PERMISSIONS, type Permission } from '../../core/api/permissions.ts';

const READS = PERMISSIONS.filter((permission) => permission.endsWith('.read'));

const ROLES: ReadonlyMap<string, ReadonlySet<Permission>> = new Map<string, ReadonlySet<Permission>>([
  ['admin', new Set(PERMISSIONS)],
  [
    'operator',
    new Set<Permission>([
      ...READS.filter((permission) => permission !== 'audit.read'),
      'config.publish',
      'config.rollback',
      'device.manage',
      'envoy.approve',
      'fleet.write',
      'push.execute',
      'query.execute',
      'schedule.manage',
      'task.named',
      'token.manage',
      'workflow.execute',
    ]),
  ],
  ['viewer', new Set<Permission>(['compliance.read', 'config.read', 'fleet.read', 'security.read'])],
  [
    'auditor',
    new Set<Permission>(['audit.read', 'compliance.read', 'config.read', 'fleet.read', 'secrets.read', 'security.read', 'server.read']),
  ],
]);

/** Nothing for a role that is not known. */
export function permissionsOf(role: string): ReadonlySet<Permission> {
  return ROLES.get(role === 'compliance' ? 'auditor' : role) ?? new Set();
}
