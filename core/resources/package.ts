/** What a `package` is: packages of the operating system and the version of them. */
import { z } from 'zod';
import { bool, line, list, oneOf, words } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

export const PACKAGE_PROVIDERS = [
  'apt',
  'dnf',
  'yum',
  'zypper',
  'pacman',
  'apk',
  'brew',
  'pkg',
  'pkg_add',
  'pkgin',
  'ips',
  'choco',
  'winget',
  'scoop',
] as const;

export const packageSpec = defineResource({
  type: 'package',
  summary: 'OS packages through whatever package manager the node has.',
  families: ALL_HOSTS,
  states: ['present', 'latest', 'absent'],
  primary: 'package',
  docs: {
    package: { kind: 'list', required: true, note: 'One or more package names; "*" with latest upgrades everything.' },
    version: { kind: 'string', note: "Version in the manager's own format; for one package only." },
    allow_downgrade: { kind: 'bool', default: false, note: 'Go to a lower version when version says so.' },
    purge: { kind: 'bool', default: false, note: 'With absent, drop configuration too (apt).' },
    update_cache: { kind: 'bool', default: false, note: 'Refresh metadata before an install or upgrade.' },
    lock_version: {
      kind: 'bool',
      default: false,
      note: 'Hold after install; needs version unless latest or absent; unheld before removal.',
    },
    post_cleanup: {
      kind: 'bool',
      default: false,
      note: 'Remove dependencies that nothing needs afterwards; a failure there is only a warning.',
    },
    flags: { kind: 'string', note: 'Extra arguments of the manager, split on spaces.' },
    provider: { kind: 'string', allowed: PACKAGE_PROVIDERS, note: 'Package manager; default: the one that is found.' },
    state: { kind: 'string', default: 'present', allowed: ['present', 'latest', 'absent'], note: 'latest installs and upgrades.' },
  },
  attributes: z
    .object({
      package: list().refine(
        (names) => names.length > 0 && names.every((name) => !name.startsWith('-') && !/\s/.test(name)),
        'no package is named',
      ),
      version: line().optional(),
      allow_downgrade: bool().default(false),
      purge: bool().default(false),
      update_cache: bool().default(false),
      lock_version: bool().default(false),
      post_cleanup: bool().default(false),
      flags: words().optional(),
      provider: oneOf(PACKAGE_PROVIDERS).optional(),
      state: oneOf(['present', 'latest', 'absent']).default('present'),
    })
    .refine((want) => want.version === undefined || want.package.length === 1, 'version goes with one package only')
    .refine((want) => want.version === undefined || want.state === 'present', 'version goes with state present only')
    .refine((want) => !want.lock_version || want.version !== undefined || want.state !== 'present', 'lock_version needs a version')
    .refine(
      (want) => !want.package.includes('*') || (want.state === 'latest' && want.package.length === 1),
      '"*" goes with state latest and alone',
    ),
  examples: [
    `- name: Web server
  type: package
  package: nginx
  state: present
  update_cache: true`,
  ],
});
