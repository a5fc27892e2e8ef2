/** `is_container`: the machine is a container. */
import { needTrait } from '../facts.ts';
import type { WhenBuiltin } from './builtin.ts';

export const IS_CONTAINER: WhenBuiltin = {
  name: 'is_container',
  side: 'agent',
  live: false,
  arity: [0, 0],
  usage: 'is_container',
  doc: 'the machine is a container',
  evaluate: (_args, facts) => needTrait(facts, 'virtual.is_container') === true,
};
