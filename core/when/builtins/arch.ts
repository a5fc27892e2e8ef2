/** `arch`: os.arch or os.arch_raw is this architecture. */
import { traitAt } from '../../traits/path.ts';
import { needTrait, sameText } from '../facts.ts';
import type { WhenBuiltin } from './builtin.ts';

export const ARCH: WhenBuiltin = {
  name: 'arch',
  side: 'agent',
  live: false,
  arity: [1, 1],
  usage: "arch('amd64')",
  doc: 'os.arch or os.arch_raw is this architecture',
  evaluate: ([wanted], facts) => sameText(needTrait(facts, 'os.arch'), wanted!) || sameText(traitAt(facts.traits, 'os.arch_raw'), wanted!),
};
