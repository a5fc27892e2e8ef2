/** `environment`: the entry is in one of the environments; false without an environment. */
import { sameText } from '../facts.ts';
import { MANY, type WhenBuiltin } from './builtin.ts';

export const ENVIRONMENT: WhenBuiltin = {
  name: 'environment',
  side: 'server',
  live: false,
  arity: [1, MANY],
  usage: "environment('prod', …)",
  doc: 'the entry is in one of the environments; false without an environment',
  evaluate: (args, { environment }) => environment !== null && args.some((each) => sameText(environment, each)),
};
