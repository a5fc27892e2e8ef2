/** What a `group` is: a local group and its members. */
import { z } from 'zod';
import { bool, int, listOf, matching, oneOf } from './attributes.ts';
import { defineResource, UNIX_FAMILIES } from './define.ts';
import { ACCOUNT_NAME } from './user.ts';

export const group = defineResource({
  type: 'group',
  summary: 'A local group and, if given, its exact members.',
  families: UNIX_FAMILIES,
  states: ['present', 'absent'],
  primary: 'group',
  docs: {
    group: { kind: 'string', required: true, note: 'Name of the group.' },
    gid: { kind: 'int', note: 'Numeric group id.' },
    system: { kind: 'bool', default: false, note: 'Make a system group.' },
    members: { kind: 'list', note: 'Exact members: missing users are added, others removed.' },
    state: { kind: 'string', default: 'present', allowed: ['present', 'absent'], note: 'absent removes the group.' },
  },
  attributes: z.object({
    group: matching(ACCOUNT_NAME, 'is not a group name'),
    gid: int(0, 4_294_967_294).optional(),
    system: bool().default(false),
    members: listOf((name) => ACCOUNT_NAME.test(name), 'holds something that is no account name').optional(),
    state: oneOf(['present', 'absent']).default('present'),
  }),
  examples: [
    `- name: Operators
  type: group
  group: operators
  members: [alice, bob]`,
  ],
});
