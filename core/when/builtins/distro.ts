/** `distro`: os.distro or os.upstream_id is this distribution. */
import { traitAt } from '../../traits/path.ts';
import { needTrait, sameText } from '../facts.ts';
import type { WhenBuiltin } from './builtin.ts';

export const DISTRO: WhenBuiltin = {
  name: 'distro',
  side: 'agent',
  live: false,
  arity: [1, 1],
  usage: "distro('ubuntu')",
  doc: 'os.distro or os.upstream_id is this distribution',
  evaluate: ([wanted], facts) =>
    sameText(needTrait(facts, 'os.distro'), wanted!) || sameText(traitAt(facts.traits, 'os.upstream_id'), wanted!),
};
