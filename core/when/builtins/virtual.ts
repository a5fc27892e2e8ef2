/** `virtual`: the hypervisor or container the machine lives in. */
import { traitAt } from '../../traits/path.ts';
import { needTrait, sameText } from '../facts.ts';
import type { WhenBuiltin } from './builtin.ts';

export const VIRTUAL: WhenBuiltin = {
  name: 'virtual',
  side: 'agent',
  live: false,
  arity: [1, 1],
  usage: "virtual('kvm')",
  doc: 'virtual.hypervisor or virtual.container is this one; none is never true',
  evaluate: ([wanted], facts) => {
    needTrait(facts, 'virtual');
    if (sameText('none', wanted!)) return false;
    return ['virtual.hypervisor', 'virtual.container'].some((path) => sameText(traitAt(facts.traits, path), wanted!));
  },
};
