/** What a `symlink` is: a symbolic or hard link and what it points at. */
import { z } from 'zod';
import { bool, line, oneOf, path, textsOf } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

export const symlink = defineResource({
  type: 'symlink',
  summary: 'Keeps a symbolic or hard link pointing at a target.',
  families: ALL_HOSTS,
  states: ['present', 'absent'],
  primary: 'target_path',
  docs: {
    target_path: { kind: 'path', required: true, aliases: ['path'], note: 'Where the link lives.' },
    to: { kind: 'string', aliases: ['target'], note: 'What it points at; needed for present. A soft link may hold a relative path.' },
    link_type: {
      kind: 'string',
      default: 'soft',
      allowed: ['soft', 'hard'],
      note: 'hard needs an existing target on the same file system.',
    },
    force: {
      kind: 'bool',
      default: false,
      note: 'Replace a file or a link of another kind that is already at target_path; a directory is never replaced.',
    },
    owner: { kind: 'string', note: 'Owner of the link itself (soft links); Unix only.' },
    group: { kind: 'string', note: 'Group of the link itself (soft links); Unix only.' },
    state: {
      kind: 'string',
      default: 'present',
      allowed: ['present', 'absent'],
      note: 'absent removes the link, never what it points at.',
    },
  },
  attributes: z
    .object({
      target_path: path(),
      to: line().optional(),
      link_type: oneOf(['soft', 'hard']).default('soft'),
      force: bool().default(false),
      owner: line().optional(),
      group: line().optional(),
      state: oneOf(['present', 'absent']).default('present'),
    })
    .refine((want) => want.state === 'absent' || want.to !== undefined, 'to is required for state present')
    .refine((want) => want.link_type === 'soft' || want.to === undefined || want.to.startsWith('/'), 'to of a hard link must be absolute'),
  touches: (attributes) => textsOf(attributes['target_path']),
  examples: [
    `- name: Current release
  type: symlink
  target_path: /srv/app/current
  to: /srv/app/releases/42`,
  ],
});
