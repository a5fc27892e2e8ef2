/** What a `file_line` is: one line of a text file. */
import { z } from 'zod';
import { oneOf, path, regex, text, textsOf } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

export const fileLine = defineResource({
  type: 'file_line',
  summary: 'Ensures a single line is in, replaced in, or gone from a text file.',
  families: ALL_HOSTS,
  states: ['present', 'absent'],
  primary: 'target_path',
  docs: {
    target_path: {
      kind: 'path',
      required: true,
      aliases: ['path'],
      note: 'File to edit; it must exist for a line to be put in, and a missing file has no line to remove.',
    },
    line: { kind: 'string', note: 'The exact text; needed for present, and for absent unless match_pattern is given.' },
    match_pattern: {
      kind: 'string',
      aliases: ['match'],
      note: 'Regular expression (RE2): lines to replace (present) or to remove (absent).',
    },
    position: { kind: 'string', default: 'end', note: 'Where to insert when nothing matches: end, begin, after:<regex>, before:<regex>.' },
    region_start: { kind: 'string', note: 'Regular expression: the edit is limited to lines after the first match.' },
    region_end: { kind: 'string', note: 'Regular expression: the edit is limited to lines before the next match.' },
    state: { kind: 'string', default: 'present', allowed: ['present', 'absent'], note: 'absent removes matching lines.' },
  },
  attributes: z
    .object({
      target_path: path(),
      line: text()
        .refine((value) => !/[\r\n]/.test(value), 'must be one line')
        .optional(),
      match_pattern: regex().optional(),
      position: text()
        .refine((value) => /^(end|begin|(after|before):.+)$/.test(value), 'must be end, begin, after:<regex> or before:<regex>')
        .refine((value) => regex().safeParse(value.replace(/^(end|begin|after:|before:)/, '')).success, 'holds a bad regular expression')
        .default('end'),
      region_start: regex().optional(),
      region_end: regex().optional(),
      state: oneOf(['present', 'absent']).default('present'),
    })
    .refine((want) => want.line !== undefined || (want.state === 'absent' && want.match_pattern !== undefined), 'line is required'),
  touches: (attributes) => textsOf(attributes['target_path']),
  examples: [
    `- name: No root login
  type: file_line
  target_path: /etc/ssh/sshd_config
  line: PermitRootLogin no
  match_pattern: '^#?\\s*PermitRootLogin\\s'
  notify: Reload sshd`,
  ],
});
