/** What an `exec` is: a command, its guards and how it is run. */
import { z } from 'zod';
import { bool, command, commands, content, ints, line, path, textsOf, variables } from './attributes.ts';
import { ALL_HOSTS, defineResource } from './define.ts';

export const exec = defineResource({
  type: 'exec',
  summary: 'Runs a command, guarded so that it only fires when needed.',
  families: ALL_HOSTS,
  states: [],
  primary: 'command',
  docs: {
    command: { kind: 'command', required: true, note: 'Handed to sh -c (cmd /c on Windows).' },
    onlyif: { kind: 'command', aliases: ['only_if'], note: 'Proceed only when this exits 0; of a list, all must.' },
    unless: { kind: 'command', note: 'Proceed only when this exits non-zero; of a list, at least one must.' },
    creates: { kind: 'path', note: 'Skip when the path exists.' },
    cwd: { kind: 'path', note: 'Working directory.' },
    user: { kind: 'string', note: 'Run as this user; Unix only.' },
    environment: { kind: 'map', aliases: ['env'], note: 'A map, or KEY=VALUE,KEY=VALUE.' },
    stdin: { kind: 'string', note: 'Fed to the command; excludes secret_file.' },
    secret_file: {
      kind: 'string',
      note: 'Value put in a 0600 temporary file that is removed afterwards; {{secret_file}} in command becomes its path; excludes stdin.',
    },
    returns: { kind: 'list', default: '0', note: 'Exit codes counted as success.' },
    logoutput: { kind: 'bool', default: true, note: 'false keeps output out of reports and error text.' },
    background: {
      kind: 'bool',
      default: false,
      note: 'Start and do not wait; guards still run first; no exit code or output; nice 19 unless set.',
    },
    on_revert: { kind: 'command', note: 'Inverse of the command; needed with revert.' },
  },
  attributes: z
    .object({
      command: command(),
      onlyif: commands().optional(),
      unless: commands().optional(),
      creates: path().optional(),
      cwd: path().optional(),
      user: line().optional(),
      environment: variables().optional(),
      stdin: content().optional(),
      secret_file: content().optional(),
      returns: ints(0, 255).default([0]),
      logoutput: bool().default(true),
      background: bool().default(false),
      on_revert: command().optional(),
    })
    .refine((want) => want.stdin === undefined || want.secret_file === undefined, 'stdin excludes secret_file')
    .refine((want) => !want.background || want.secret_file === undefined, 'a secret_file would outlive a command in the background'),
  commands: (attributes) => ['command', 'onlyif', 'unless', 'on_revert'].flatMap((name) => textsOf(attributes[name])),
  examples: [
    `- name: Build the database
  type: exec
  command: /usr/local/bin/init-db --data /srv/db
  creates: /srv/db/VERSION
  user: postgres
  timeout: 10m`,
  ],
});
