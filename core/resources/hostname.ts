/** What a `hostname` is: the machine's name. */
import { z } from 'zod';
import { line } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

const LABEL = /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

export const hostname = defineResource({
  type: 'hostname',
  summary: "The machine's name.",
  families: ALL_HOSTS,
  states: [],
  primary: 'hostname',
  docs: {
    hostname: { kind: 'string', required: true, note: 'Name by RFC 1123. With revert the name found before the first change is put back.' },
  },
  attributes: z.object({
    hostname: line().refine(
      (name) => name.length <= 64 && name.split('.').every((label) => LABEL.test(label)),
      'is not a host name by RFC 1123',
    ),
  }),
  examples: ['- type: hostname\n  hostname: web01.example.com'],
});
