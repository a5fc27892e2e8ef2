/** `has_package`: the package is installed. */
import type { WhenBuiltin } from './builtin.ts';

export const HAS_PACKAGE: WhenBuiltin = {
  name: 'has_package',
  side: 'agent',
  live: true,
  arity: [1, 1],
  usage: "has_package('nginx')",
  doc: 'the package is installed',
  evaluate: ([name], { probe }) => probe.hasPackage(name!),
};
