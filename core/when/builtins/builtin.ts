/** The shape of a `when:` builtin. */
import type { WhenFacts } from '../facts.ts';

export interface WhenBuiltin {
  readonly name: string;
  /** `server`: folded at publish; `agent`: left for the agent; `either`: folded when all arguments are constant */
  readonly side: 'server' | 'agent' | 'either';
  /** asks the machine when the resource is reached */
  readonly live: boolean;
  readonly arity: readonly [number, number];
  readonly usage: string;
  readonly doc: string;
  /** what is wrong with the arguments, `undefined` among them = not known before the run */
  readonly check?: (args: readonly (string | undefined)[]) => string | undefined;
  readonly evaluate: (args: readonly string[], facts: WhenFacts) => boolean | Promise<boolean>;
}

export const MANY = Number.POSITIVE_INFINITY;

/** The first complaint of a check over every known argument. */
export function checkEach(complain: (arg: string) => string | undefined): (args: readonly (string | undefined)[]) => string | undefined {
  return (args) => {
    for (const arg of args) {
      const complaint = arg === undefined ? undefined : complain(arg);
      if (complaint !== undefined) return complaint;
    }
    return undefined;
  };
}

export function isAbsolutePath(path: string): boolean {
  return path.startsWith('/') || path.startsWith('\\\\') || /^[A-Za-z]:[\\/]/.test(path);
}
