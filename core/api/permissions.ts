/** The permissions of the API (server.md §7.1): what a route may ask for. */

export const PERMISSIONS = [
  'audit.read',
  'backup.manage',
  'compliance.read',
  'config.publish',
  'config.read',
  'config.rollback',
  'device.manage',
  'drill.run',
  'envoy.approve',
  'envoy.revoke',
  'fleet.read',
  'fleet.write',
  'metrics.read',
  'peer.manage',
  'push.execute',
  'query.execute',
  'schedule.manage',
  'scrier.connect',
  'scrier.shadow',
  'secrets.read',
  'secrets.reveal',
  'secrets.write',
  'security.read',
  'server.manage',
  'server.read',
  'spanner.manage',
  'swarm.manage',
  'task.named',
  'token.manage',
  'user.manage',
  'workflow.execute',
] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** `public`: no authentication; `signed-in`: any user; `metrics`: by the setting metrics.access; `agent`: client certificate and signature of an envoy. */
export type RoutePermission = Permission | 'agent' | 'public' | 'signed-in' | 'metrics';

const KNOWN: ReadonlySet<string> = new Set([...PERMISSIONS, 'agent', 'public', 'signed-in', 'metrics']);

export function isRoutePermission(text: unknown): text is RoutePermission {
  return typeof text === 'string' && KNOWN.has(text);
}
