/** The shape of a template function. */
import type { Value } from '../value.ts';

export type FunctionGroup = 'builtin' | 'defaults' | 'text' | 'lists and maps' | 'numbers' | 'encodings';

export interface TemplateFunction {
  readonly name: string;
  readonly group: FunctionGroup;
  /** least and most number of arguments, the piped one included */
  readonly arity: readonly [number, number];
  /** how the arguments are written */
  readonly usage: string;
  /** one line for the reference */
  readonly doc: string;
  /** takes an undefined key as false or empty (config.md §8.4); the others refuse one */
  readonly acceptsUndefined: boolean;
  /** `lazy`: the renderer evaluates argument by argument and stops at the first false (`and`) or true (`or`) one */
  readonly lazy?: 'and' | 'or';
  readonly call: (args: readonly Value[]) => Value;
}

export const MANY = Number.POSITIVE_INFINITY;

/** A maker of functions of one group. */
export function inGroup(group: FunctionGroup) {
  return (
    name: string,
    arity: readonly [number, number],
    usage: string,
    doc: string,
    call: (args: readonly Value[]) => Value,
    more: { readonly acceptsUndefined?: boolean; readonly lazy?: 'and' | 'or' } = {},
  ): TemplateFunction => ({
    name,
    group,
    arity,
    usage,
    doc,
    call,
    acceptsUndefined: more.acceptsUndefined ?? false,
    ...(more.lazy === undefined ? {} : { lazy: more.lazy }),
  });
}
