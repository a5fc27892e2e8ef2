/** What a condition will probably be, from the last reported traits alone: live and time predicates cannot be told (config.md §19.1). */
import { CodedError } from '../base/errors.ts';
import type { Ast, WhenArg } from './ast.ts';
import { WHEN_BUILTINS } from './builtins/index.ts';
import type { LocalTime, WhenFacts, WhenProbe } from './facts.ts';
import { complainAbout, parseBool } from './parse.ts';

export type PredictFacts = Pick<WhenFacts, 'traits' | 'environment' | 'hostname' | 'render'>;

function unknown(): never {
  throw new CodedError('EVAL_ERROR', 'only the agent can tell');
}

/** Every question about the moment or the machine ends the prediction. */
const NO_PROBE: WhenProbe = {
  hasCommand: unknown,
  hasPackage: unknown,
  packageVersion: unknown,
  serviceRunning: unknown,
  processRunning: unknown,
  portListening: unknown,
  fileKind: unknown,
  commandSucceeds: unknown,
};

function textOf(arg: WhenArg, facts: PredictFacts): string {
  if (arg.kind === 'number') return String(arg.value);
  return arg.parts.map((part) => (typeof part === 'string' ? part : facts.render(part.action))).join('');
}

function predictCall(name: string, args: readonly WhenArg[], facts: PredictFacts): boolean | undefined {
  const texts = args.map((arg) => textOf(arg, facts));
  if (complainAbout(name, texts) !== undefined || WHEN_BUILTINS.get(name)!.live) return undefined;
  const whole: WhenFacts = {
    ...facts,
    render: (action) => facts.render(action),
    get now(): LocalTime {
      return unknown();
    },
    probe: NO_PROBE,
  };
  const result = WHEN_BUILTINS.get(name)!.evaluate(texts, whole);
  return typeof result === 'boolean' ? result : undefined;
}

function predict(ast: Ast, facts: PredictFacts): boolean | undefined {
  switch (ast.op) {
    case 'bool':
      return ast.value;
    case 'not': {
      const of = predictWhen(ast.of, facts);
      return of === undefined ? undefined : !of;
    }
    case 'and':
    case 'or': {
      const decides = ast.op === 'or';
      const left = predictWhen(ast.left, facts);
      if (left === decides) return decides;
      const right = predictWhen(ast.right, facts);
      return right === decides ? decides : left === undefined ? undefined : right;
    }
    case 'action':
      return parseBool(facts.render(ast.action));
    case 'call':
      return predictCall(ast.name, ast.args, facts);
  }
}

/** undefined: cannot be told before the run. */
export function predictWhen(ast: Ast, facts: PredictFacts): boolean | undefined {
  try {
    return predict(ast, facts);
  } catch (error) {
    if (error instanceof CodedError) return undefined;
    throw error;
  }
}
