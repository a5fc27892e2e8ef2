/** The agent's half: a condition against the facts, left to right, stopping as soon as it is decided. */
import { CodedError, messageOf } from '../base/errors.ts';
import type { Ast, WhenArg } from './ast.ts';
import { WHEN_BUILTINS } from './builtins/index.ts';
import type { WhenFacts } from './facts.ts';
import { complainAbout, parseBool } from './parse.ts';

function textOf(arg: WhenArg, facts: WhenFacts): string {
  if (arg.kind === 'number') return String(arg.value);
  return arg.parts.map((part) => (typeof part === 'string' ? part : facts.render(part.action))).join('');
}

async function evaluateCall(name: string, args: readonly WhenArg[], facts: WhenFacts): Promise<boolean> {
  const texts = args.map((arg) => textOf(arg, facts));
  const complaint = complainAbout(name, texts);
  if (complaint !== undefined) throw new CodedError('EVAL_ERROR', complaint);
  return await WHEN_BUILTINS.get(name)!.evaluate(texts, facts);
}

async function evaluate(ast: Ast, facts: WhenFacts): Promise<boolean> {
  switch (ast.op) {
    case 'bool':
      return ast.value;
    case 'not':
      return !(await evaluate(ast.of, facts));
    case 'and':
      return (await evaluate(ast.left, facts)) && (await evaluate(ast.right, facts));
    case 'or':
      return (await evaluate(ast.left, facts)) || (await evaluate(ast.right, facts));
    case 'action': {
      const text = facts.render(ast.action);
      const value = parseBool(text);
      if (value === undefined)
        throw new CodedError('EVAL_ERROR', `{{${ast.action}}} gives "${text.slice(0, 60)}", which is neither true nor false`);
      return value;
    }
    case 'call':
      return await evaluateCall(ast.name, ast.args, facts);
  }
}

/** @throws CodedError EVAL_ERROR when it cannot be decided */
export async function evaluateWhen(ast: Ast, facts: WhenFacts): Promise<boolean> {
  try {
    return await evaluate(ast, facts);
  } catch (error) {
    if (error instanceof CodedError && error.code === 'EVAL_ERROR') throw error;
    throw new CodedError('EVAL_ERROR', `condition cannot be evaluated: ${messageOf(error)}`, { cause: error });
  }
}
