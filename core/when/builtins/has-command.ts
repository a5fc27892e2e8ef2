/** `has_command`: the executable is on the fixed PATH of the agent. */
import { checkEach, type WhenBuiltin } from './builtin.ts';

export const HAS_COMMAND: WhenBuiltin = {
  name: 'has_command',
  side: 'agent',
  live: true,
  arity: [1, 1],
  usage: "has_command('curl')",
  doc: 'the executable is on the fixed PATH of the agent',
  check: checkEach((name) => (/[/\\]/.test(name) || name === '' ? `has_command wants a name, not a path: "${name}"` : undefined)),
  evaluate: ([name], { probe }) => probe.hasCommand(name!),
};
