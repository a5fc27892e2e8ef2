/** What a `cron` is: a scheduled job. */
import { z } from 'zod';
import { command, line, matching, oneOf, textsOf, variables } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

const ALIASES = ['@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually', '@reboot'];
const FIELD = /^[0-9A-Za-z*,/~-]+$/;
const field = () => matching(FIELD, 'is not a field of a schedule').default('*');

export const cron = defineResource({
  type: 'cron',
  summary: 'A scheduled job.',
  families: ALL_HOSTS,
  states: ['present', 'absent'],
  primary: 'name',
  docs: {
    name: { kind: 'string', required: true, note: 'File or task name: letters, digits, - and _; the name of the resource.' },
    command: { kind: 'command', note: 'What to run; needed for present.' },
    schedule: { kind: 'string', note: 'Five fields or @hourly @daily @weekly @monthly @yearly @reboot; wins over the single fields.' },
    minute: { kind: 'string', default: '*', note: 'Minute.' },
    hour: { kind: 'string', default: '*', note: 'Hour.' },
    day: { kind: 'string', default: '*', note: 'Day of the month.' },
    month: { kind: 'string', default: '*', note: 'Month.' },
    weekday: { kind: 'string', default: '*', note: 'Day of the week, 0-7.' },
    user: { kind: 'string', default: 'root', note: 'Account the job runs as.' },
    environment: { kind: 'map', aliases: ['env'], note: 'Lines before the job: a map, or KEY=VALUE,KEY=VALUE.' },
    state: { kind: 'string', default: 'present', allowed: ['present', 'absent'], note: 'absent removes the job.' },
  },
  attributes: z
    .object({
      name: matching(/^[A-Za-z0-9_-]{1,100}$/, 'may hold letters, digits, - and _ only'),
      command: command()
        .refine((value) => !/[\r\n]/.test(value), 'must be one line')
        .optional(),
      schedule: line()
        .transform((value) => value.trim().replace(/\s+/g, ' '))
        .refine((value) => ALIASES.includes(value) || (value.split(' ').length === 5 && value.split(' ').every((one) => FIELD.test(one))), {
          message: `must be five fields or one of ${ALIASES.join(' ')}`,
        })
        .optional(),
      minute: field(),
      hour: field(),
      day: field(),
      month: field(),
      weekday: field(),
      user: matching(/^[A-Za-z_][A-Za-z0-9_.-]*\$?$/, 'is not an account name').default('root'),
      environment: variables().optional(),
      state: oneOf(['present', 'absent']).default('present'),
    })
    .refine((want) => want.state === 'absent' || want.command !== undefined, 'command is required for state present'),
  touches: (attributes) => textsOf(attributes['name']).map((name) => `/etc/cron.d/${name}`),
  commands: (attributes) => textsOf(attributes['command']),
  examples: [
    `- name: nightly-backup
  type: cron
  schedule: "30 2 * * *"
  command: /usr/local/bin/backup --quiet
  user: backup`,
  ],
});
