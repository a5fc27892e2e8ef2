/** `command_succeeds`: the shell command exits with 0 within 10 s; must only read, observe mode runs it too. */
import type { WhenBuiltin } from './builtin.ts';

export const COMMAND_SUCCEEDS: WhenBuiltin = {
  name: 'command_succeeds',
  side: 'agent',
  live: true,
  arity: [1, 1],
  usage: "command_succeeds('test -e /x')",
  doc: 'the shell command exits with 0 within 10 s; must only read, observe mode runs it too',
  evaluate: ([text], { probe }) => probe.commandSucceeds(text!),
};
