/** `has_enough_ram`: memory.total_mb is at least this many MiB. */
import { needTrait } from '../facts.ts';
import { checkEach, type WhenBuiltin } from './builtin.ts';

export const HAS_ENOUGH_RAM: WhenBuiltin = {
  name: 'has_enough_ram',
  side: 'agent',
  live: false,
  arity: [1, 1],
  usage: 'has_enough_ram(2048)',
  doc: 'memory.total_mb is at least this many MiB',
  check: checkEach((mb) => (/^\d+(\.\d+)?$/.test(mb) ? undefined : `"${mb}" is no number of megabytes`)),
  evaluate: ([mb], facts) => Number(needTrait(facts, 'memory.total_mb')) >= Number(mb),
};
