/** What vigo itself stands on: paths, units, packages and accounts no policy may take away (config.md §10.3). */

export interface ProtectedSet {
  readonly paths: readonly string[];
  /** below a protected path but free to write: the output of security scanners */
  readonly exceptions: readonly string[];
  readonly units: readonly string[];
  readonly processes: readonly string[];
  readonly packages: readonly string[];
  readonly accounts: readonly string[];
  /** names and addresses of the servers the agent talks to */
  readonly servers: readonly string[];
}

const PROGRAMS = ['vigo', 'vigosrv', 'vigocli'];
const PROGRAM_DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin'];

/** The install paths of all platforms. */
export const PROTECTED: ProtectedSet = {
  paths: [
    ...PROGRAM_DIRECTORIES.flatMap((directory) => PROGRAMS.map((program) => `${directory}/${program}`)),
    '/etc/vigo',
    '/etc/vigo-envoy',
    '/srv/vigo',
    '/var/lib/vigo',
    '/var/db/vigo',
    '/usr/local/etc/vigo-envoy',
    '/etc/init.d/vigo-envoy',
    '/etc/rc.d/vigo_envoy',
    '/usr/local/etc/rc.d/vigo_envoy',
    ...['/etc/systemd/system', '/lib/systemd/system', '/usr/lib/systemd/system', '/run/systemd/system'].flatMap((directory) =>
      ['vigo-envoy.service', 'vigosrv.service'].flatMap((unit) => [`${directory}/${unit}`, `${directory}/${unit}.d`]),
    ),
    '/Library/Vigo',
    '/Library/LaunchDaemons/com.vigo.envoy.plist',
    '/var/svc/manifest/system/vigo-envoy.xml',
    'C:/ProgramData/Vigo',
    'C:/Program Files/Vigo',
  ],
  exceptions: ['/var/lib/vigo/security', '/var/db/vigo/security', '/Library/Vigo/state/security', 'C:/ProgramData/Vigo/state/security'],
  units: ['vigo-envoy', 'vigo_envoy', 'com.vigo.envoy', 'svc:/system/vigo-envoy:default', 'vigosrv'],
  processes: ['vigo', 'vigosrv'],
  packages: ['vigo', 'vigo-envoy', 'vigosrv', 'vigocli', 'vigo-server', 'vigo-agent'],
  accounts: ['vigo'],
  servers: [],
};

/** The set of an installation that keeps its things elsewhere as well. */
export function protect(more: Partial<ProtectedSet>): ProtectedSet {
  const joined = (key: keyof ProtectedSet) => [...PROTECTED[key], ...(more[key] ?? [])];
  return {
    paths: joined('paths'),
    exceptions: joined('exceptions'),
    units: joined('units'),
    processes: joined('processes'),
    packages: joined('packages'),
    accounts: joined('accounts'),
    servers: joined('servers'),
  };
}
