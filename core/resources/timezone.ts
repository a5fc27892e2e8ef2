/** What a `timezone` is: the time zone of the system. */
import { z } from 'zod';
import { matching } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

export const timezone = defineResource({
  type: 'timezone',
  summary: 'The system time zone.',
  families: ALL_HOSTS,
  states: [],
  primary: 'timezone',
  docs: {
    timezone: { kind: 'string', required: true, note: 'IANA name. With revert the zone found before the first change is put back.' },
  },
  attributes: z.object({
    timezone: matching(/^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+){0,2}$/, 'is not an IANA zone name'),
  }),
  examples: ['- type: timezone\n  timezone: Europe/Berlin'],
});
