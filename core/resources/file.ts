/** What a `file` is: one regular file with its bytes and its permissions. */
import { z } from 'zod';
import { bool, command, content, int, isAbsolute, line, listOf, octal, oneOf, path, text, textsOf } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

export const file = defineResource({
  type: 'file',
  summary: 'Keeps one regular file at a path with a given content, mode, owner and group.',
  families: ALL_HOSTS,
  states: ['present', 'absent'],
  primary: 'target_path',
  docs: {
    target_path: { kind: 'path', required: true, aliases: ['path'], note: 'File to manage.' },
    content: {
      kind: 'text',
      note: 'Wanted bytes; a full template. Without content and source only the permissions are kept, and a missing file is made empty.',
    },
    source: {
      kind: 'string',
      note: 'Take the content from a file: a relative path names a template of the configuration tree, an absolute one a file on the node. Excludes content.',
    },
    mode: { kind: 'octal', default: '0644', note: 'Permission bits; quote it in YAML.' },
    owner: { kind: 'string', note: 'User name or uid; Unix only.' },
    group: { kind: 'string', note: 'Group name or gid; Unix only.' },
    secontext: { kind: 'string', note: 'SELinux label applied after the write; does nothing where SELinux is absent.' },
    baseindent: { kind: 'int', note: 'Spaces put in front of every line that is not empty.' },
    backup: {
      kind: 'string',
      note: 'true keeps <path>.<epoch>.bak before an overwrite; any other text is the suffix; only when the content differs.',
    },
    validate: { kind: 'command', note: 'Run before the swap with % standing for the temporary file; a non-zero exit stops the write.' },
    stream_edit: { kind: 'list', note: 'Filter programs (paths) the content passes through before comparison and write.' },
    state: {
      kind: 'string',
      default: 'present',
      allowed: ['present', 'absent'],
      note: 'absent removes the file; a directory is never removed by it.',
    },
  },
  attributes: z
    .object({
      target_path: path(),
      content: content().optional(),
      source: line().optional(),
      mode: octal().default(0o644),
      owner: line().optional(),
      group: line().optional(),
      secontext: line().optional(),
      baseindent: int(0, 200).optional(),
      backup: text().optional(),
      validate: command().optional(),
      stream_edit: listOf(isAbsolute, 'must hold absolute paths').optional(),
      state: oneOf(['present', 'absent']).default('present'),
    })
    .refine((want) => want.content === undefined || want.source === undefined, 'content excludes source'),
  touches: (attributes) => textsOf(attributes['target_path']),
  commands: (attributes) => [...textsOf(attributes['validate']), ...textsOf(attributes['stream_edit'])],
  examples: [
    `- name: Message of the day
  type: file
  target_path: /etc/motd
  content: |
    {{ .Traits.network.hostname }} is managed by vigo
  mode: "0644"
  owner: root
  group: root`,
  ],
});

/** The keeper of `backup`: undefined when none is wanted. */
export function backupSuffix(backup: string | undefined, epochSeconds: number): string | undefined {
  const word = backup?.trim() ?? '';
  if (['', 'false', 'no', '0'].includes(word.toLowerCase())) return undefined;
  return bool().safeParse(word).success ? `.${epochSeconds}.bak` : word;
}
