/** What a `user` is: a local account with everything that belongs to it. */
import { z } from 'zod';
import { bool, int, line, listOf, matching, oneOf, path, text, textsOf } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

/** Names that useradd takes, without a leading dash; `$` at the end is Samba's. */
export const ACCOUNT_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,62}\$?$/;
const isField = (value: string) => !/[:\r\n]/.test(value);
const isDate = (value: string) => /^\d{4}-\d{2}-\d{2}$/.test(value) && new Date(`${value}T00:00:00Z`).toJSON()?.startsWith(value) === true;

export const user = defineResource({
  type: 'user',
  summary: 'A local account with shell, groups, password, keys and sudo right.',
  families: ALL_HOSTS,
  states: ['present', 'absent'],
  primary: 'username',
  docs: {
    username: { kind: 'string', required: true, note: 'Name of the account.' },
    uid: { kind: 'int', note: 'Numeric user id.' },
    gid: { kind: 'int', note: 'Numeric primary group.' },
    group: { kind: 'string', note: 'Name of the primary group; excludes gid.' },
    groups: { kind: 'list', note: 'Supplementary groups; the exact set.' },
    shell: { kind: 'path', note: 'Login shell.' },
    home: { kind: 'path', note: "Home directory; default: the platform's." },
    comment: { kind: 'string', note: 'Full name or description (GECOS).' },
    password: {
      kind: 'string',
      note: 'Clear text, usually a secret: reference, hashed on the node and compared by re-hashing with the stored salt; or a finished crypt hash ($6$…, $y$…). Never shown.',
    },
    authorized_keys: { kind: 'string', note: 'The whole content of ~/.ssh/authorized_keys, one key a line.' },
    system: { kind: 'bool', default: false, note: 'Make a system account.' },
    manage_home: { kind: 'bool', default: true, note: 'Create the home, and remove it on absent.' },
    password_max_age: { kind: 'int', note: 'Days after which the password must change.' },
    password_min_age: { kind: 'int', note: 'Days before which the password may not change.' },
    password_warn_days: { kind: 'int', note: 'Days of warning before the password expires.' },
    expires: { kind: 'string', note: 'Account expiry, YYYY-MM-DD; never takes an expiry away.' },
    locked: { kind: 'bool', note: 'Whether the password is locked.' },
    sudo_nopasswd: {
      kind: 'bool',
      default: false,
      note: 'Writes /etc/sudoers.d/<username>, 0440, checked with visudo -c. When unset an existing file is left alone; false removes it.',
    },
    state: {
      kind: 'string',
      default: 'present',
      allowed: ['present', 'absent'],
      note: 'absent removes the account, its keys and its sudo right.',
    },
  },
  attributes: z
    .object({
      username: matching(ACCOUNT_NAME, 'is not an account name'),
      uid: int(0, 4_294_967_294).optional(),
      gid: int(0, 4_294_967_294).optional(),
      group: matching(ACCOUNT_NAME, 'is not a group name').optional(),
      groups: listOf((name) => ACCOUNT_NAME.test(name), 'holds something that is no group name').optional(),
      shell: path().refine(isField, 'holds a colon').optional(),
      home: path().refine(isField, 'holds a colon').optional(),
      comment: text().refine(isField, 'holds a colon or a line break').optional(),
      password: text()
        .refine((value) => value !== '' && !/[\r\n]/.test(value), 'must be one line and not empty')
        .optional(),
      authorized_keys: text().optional(),
      system: bool().default(false),
      manage_home: bool().default(true),
      password_max_age: int(-1, 99_999).optional(),
      password_min_age: int(-1, 99_999).optional(),
      password_warn_days: int(-1, 99_999).optional(),
      expires: line()
        .refine((value) => value === 'never' || isDate(value), 'is not a date YYYY-MM-DD')
        .optional(),
      locked: bool().optional(),
      sudo_nopasswd: bool().optional(),
      state: oneOf(['present', 'absent']).default('present'),
    })
    .refine((want) => want.gid === undefined || want.group === undefined, 'gid excludes group'),
  touches: (attributes) => [...textsOf(attributes['home']), ...textsOf(attributes['username']).map((name) => `/etc/sudoers.d/${name}`)],
  examples: [
    `- name: Deploy account
  type: user
  username: deploy
  groups: [docker, adm]
  shell: /bin/bash
  password: secret:accounts/deploy
  authorized_keys: |
    ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample deploy@laptop`,
  ],
});
