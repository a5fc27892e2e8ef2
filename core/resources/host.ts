/** What a `host` is: one entry of the hosts file. */
import { isIP } from 'node:net';
import { z } from 'zod';
import { line, matching, oneOf, words } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

const NAME = /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$/;

export const host = defineResource({
  type: 'host',
  summary: 'One entry of the hosts file.',
  families: ALL_HOSTS,
  states: ['present', 'absent'],
  primary: 'hostname',
  docs: {
    hostname: { kind: 'string', required: true, note: 'Canonical name of the entry.' },
    ip: { kind: 'string', note: 'Address; needed for present.' },
    aliases: { kind: 'list', note: 'Further names; space- or comma-separated, or a list. Unset leaves those of an existing entry alone.' },
    state: { kind: 'string', default: 'present', allowed: ['present', 'absent'], note: 'absent removes the line of the name.' },
  },
  attributes: z
    .object({
      hostname: matching(NAME, 'is not a host name'),
      ip: line()
        .refine((value) => isIP(value) !== 0, 'is not an address')
        .optional(),
      aliases: words()
        .refine((names) => names.every((name) => NAME.test(name)), 'holds something that is no host name')
        .optional(),
      state: oneOf(['present', 'absent']).default('present'),
    })
    .refine((want) => want.state === 'absent' || want.ip !== undefined, 'ip is required for state present'),
  touches: () => ['/etc/hosts'],
  examples: [
    `- name: Database address
  type: host
  hostname: db.internal
  ip: 10.0.1.20
  aliases: [db]`,
  ],
});
