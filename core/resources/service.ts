/** What a `service` is: the running state and the boot state of a unit. */
import { z } from 'zod';
import { bool, command, line, oneOf, textsOf } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

const START_TYPES = ['auto', 'delayed-auto', 'demand', 'disabled'] as const;

export const service = defineResource({
  type: 'service',
  summary: 'Running state and boot-time state of a service, on the native init system of the node.',
  families: ALL_HOSTS,
  states: ['running', 'stopped', 'restarted', 'reloaded'],
  primary: 'service',
  docs: {
    service: { kind: 'string', required: true, aliases: ['unit'], note: 'Unit, label, rc script, FMRI or Windows service name.' },
    enabled: { kind: 'bool', note: 'Starts at boot; unset leaves the boot state alone.' },
    restart_command: { kind: 'command', aliases: ['restart'], note: 'Used for restarted; default: the native restart.' },
    reload_command: { kind: 'command', note: 'Used for reloaded; default: the native reload.' },
    masked: { kind: 'bool', note: 'systemd only: the unit cannot be started by anything.' },
    start_type: { kind: 'string', allowed: START_TYPES, note: 'Windows only.' },
    state: {
      kind: 'string',
      default: 'running',
      allowed: ['running', 'stopped', 'restarted', 'reloaded'],
      note: 'restarted and reloaded act every time they run, so they belong to resources with when: changed.',
    },
  },
  attributes: z
    .object({
      service: line().refine((name) => !name.startsWith('-'), 'starts with a dash'),
      enabled: bool().optional(),
      restart_command: command().optional(),
      reload_command: command().optional(),
      masked: bool().optional(),
      start_type: oneOf(START_TYPES).optional(),
      state: oneOf(['running', 'stopped', 'restarted', 'reloaded']).default('running'),
    })
    .refine((want) => want.masked !== true || want.state === 'stopped', 'a masked service can only be stopped')
    .refine((want) => want.masked !== true || want.enabled !== true, 'a masked service cannot be enabled'),
  commands: (attributes) => [...textsOf(attributes['restart_command']), ...textsOf(attributes['reload_command'])],
  examples: [
    `- name: Web server runs
  type: service
  service: nginx
  state: running
  enabled: true`,
    `- name: Reload nginx
  type: service
  service: nginx
  state: reloaded
  when: changed`,
  ],
});
