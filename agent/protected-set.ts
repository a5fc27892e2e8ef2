/** What this installation of the agent stands on, wherever its flags put it. */
import { join } from 'node:path';
import { type ProtectedSet, protect } from '../core/policy/protected.ts';
import type { AgentSettings } from './settings.ts';

/** @param servers addresses as host:port */
export function protectedSetOf(settings: AgentSettings, servers: readonly string[]): ProtectedSet {
  const { configDir, stateDir, executors_dir, snapshot_dir } = settings;
  const hosts = [settings.server, ...settings.fallback_servers, ...servers].map((server) =>
    server.replace(/:\d+$/, '').replace(/^\[|\]$/g, ''),
  );
  return protect({
    paths: [configDir, stateDir, ...[executors_dir, snapshot_dir].filter((path) => path !== undefined)],
    exceptions: [join(stateDir, 'security')],
    servers: [...new Set(hosts.map((host) => host.toLowerCase()))],
  });
}
