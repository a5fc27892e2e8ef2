/** `changed`: true when something that notifies this resource changed; makes it trigger-only; only joined with && at the top. */
import { CodedError } from '../../base/errors.ts';
import type { WhenBuiltin } from './builtin.ts';

export const CHANGED: WhenBuiltin = {
  name: 'changed',
  side: 'server',
  live: false,
  arity: [0, 0],
  usage: 'changed',
  doc: 'true when something that notifies this resource changed; makes it trigger-only; only joined with && at the top',
  evaluate: () => {
    throw new CodedError('EVAL_ERROR', 'changed is resolved by the server and cannot be evaluated here');
  },
};
