/** `hostname`: a glob over the enrolled host name. */
import { CodedError } from '../../base/errors.ts';
import { compileGlob } from '../../base/glob.ts';
import { checkEach, type WhenBuiltin } from './builtin.ts';

export const HOSTNAME: WhenBuiltin = {
  name: 'hostname',
  side: 'agent',
  live: false,
  arity: [1, 1],
  usage: "hostname('web-*')",
  doc: 'the glob matches the enrolled host name',
  check: checkEach((pattern) => {
    try {
      compileGlob(pattern);
      return undefined;
    } catch (error) {
      if (error instanceof CodedError) return error.message;
      throw error;
    }
  }),
  evaluate: ([pattern], { hostname }) => compileGlob(pattern!).matches(hostname),
};
