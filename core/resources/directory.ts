/** What a `directory` is: a directory with its permissions, or its absence. */
import { z } from 'zod';
import { bool, line, octal, oneOf, path, textsOf } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

export const directory = defineResource({
  type: 'directory',
  summary: 'Keeps a directory present with its permissions, or removes the tree.',
  families: ALL_HOSTS,
  states: ['present', 'absent'],
  primary: 'target_path',
  docs: {
    target_path: { kind: 'path', required: true, aliases: ['path'], note: 'Directory to manage; missing parents are made too.' },
    mode: { kind: 'octal', default: '0755', note: 'Permission bits; quote it in YAML.' },
    owner: { kind: 'string', note: 'User name or uid; Unix only.' },
    group: { kind: 'string', note: 'Group name or gid; Unix only.' },
    recurse: {
      kind: 'bool',
      default: false,
      note: 'Push mode, owner and group down to every entry below; a link gets owner and group only.',
    },
    state: { kind: 'string', default: 'present', allowed: ['present', 'absent'], note: 'absent removes the directory and all below it.' },
  },
  attributes: z.object({
    target_path: path(),
    mode: octal().default(0o755),
    owner: line().optional(),
    group: line().optional(),
    recurse: bool().default(false),
    state: oneOf(['present', 'absent']).default('present'),
  }),
  touches: (attributes) => textsOf(attributes['target_path']),
  examples: [
    `- name: Upload folder
  type: directory
  target_path: /srv/uploads
  mode: "0750"
  owner: www-data
  group: www-data`,
  ],
});
