/** Template plus data to text (config.md §8.4): the same input gives the same bytes, in bounded time and space. */
import type { Command, Node, Operand, Pipe, Template } from './ast.ts';
import { TEMPLATE_FUNCTIONS } from './functions/index.ts';
import { printValue } from './print.ts';
import { describe, fail, float, hasMember, isTrue, kindOf, MAX_OUTPUT, Missing, member, sortedKeys, type Value } from './value.ts';

const MAX_STEPS = 100_000;
const MAX_CALLS = 32;

interface Variable {
  readonly name: string;
  value: Value;
}

type Signal = 'break' | 'continue' | undefined;

class Renderer {
  readonly #template: Template;
  #steps = 0;
  #calls = 0;
  #length = 0;
  readonly #output: string[] = [];
  #variables: Variable[];

  constructor(template: Template, data: Value) {
    this.#template = template;
    this.#variables = [{ name: '$', value: data }];
  }

  run(data: Value): string {
    this.#walk(this.#template.nodes, data);
    return this.#output.join('');
  }

  #spend(steps: number): void {
    this.#steps += steps;
    if (this.#steps > MAX_STEPS) fail(`the template takes more than ${MAX_STEPS} steps`);
  }

  #write(text: string): void {
    this.#length += Buffer.byteLength(text);
    if (this.#length > MAX_OUTPUT) fail('the output grows beyond 4 MiB');
    this.#output.push(text);
  }

  #walk(nodes: readonly Node[], dot: Value): Signal {
    for (const node of nodes) {
      this.#spend(1);
      if (node.kind === 'text') this.#write(node.text);
      else if (node.kind === 'action') {
        const value = this.#evaluate(node.pipe, dot);
        if (node.pipe.variables.length === 0) this.#write(printValue(value));
      } else if (node.kind === 'template') this.#call(node.name, node.pipe, dot);
      else if (node.kind === 'break') return 'break';
      else if (node.kind === 'continue') return 'continue';
      else {
        const mark = this.#variables.length;
        const signal =
          node.kind === 'range'
            ? this.#range(node.pipe, node.body, node.otherwise, dot)
            : this.#branch(node.kind, node.pipe, node.body, node.otherwise, dot);
        this.#variables.length = mark;
        if (signal !== undefined) return signal;
      }
    }
    return undefined;
  }

  #branch(kind: 'if' | 'with', pipe: Pipe, body: readonly Node[], otherwise: readonly Node[], dot: Value): Signal {
    const value = this.#evaluate(pipe, dot, true);
    if (!isTrue(value)) return this.#walk(otherwise, dot);
    return this.#walk(body, kind === 'with' ? value : dot);
  }

  #range(pipe: Pipe, body: readonly Node[], otherwise: readonly Node[], dot: Value): Signal {
    const [first, second] = pipe.variables;
    const value = this.#evaluate({ ...pipe, variables: [] }, dot);
    const kind = kindOf(value);
    if (kind !== 'list' && kind !== 'map' && kind !== 'nil') return fail(`range: ${describe(value)} is no list or map`);
    const entries: Iterable<readonly [Value, Value]> =
      kind === 'list'
        ? (value as Value[]).entries()
        : kind === 'map'
          ? sortedKeys(value).map((key): [Value, Value] => [key, member(value, key)])
          : [];
    let count = 0;
    for (const [key, item] of entries) {
      count++;
      this.#spend(1);
      const mark = this.#variables.length;
      if (second !== undefined) {
        this.#set(first!, key, pipe.assigns);
        this.#set(second, item, pipe.assigns);
      } else if (first !== undefined) this.#set(first, item, pipe.assigns);
      const signal = this.#walk(body, item);
      this.#variables.length = mark;
      if (signal === 'break') break;
    }
    return count === 0 ? this.#walk(otherwise, dot) : undefined;
  }

  #call(name: string, pipe: Pipe | undefined, dot: Value): void {
    const nodes = this.#template.defined.get(name);
    if (nodes === undefined) fail(`template "${name}" is not defined`);
    const data = pipe === undefined ? null : this.#evaluate(pipe, dot);
    if (++this.#calls > MAX_CALLS) fail(`templates call each other deeper than ${MAX_CALLS}`);
    const outer = this.#variables;
    this.#variables = [{ name: '$', value: data }];
    this.#walk(nodes, data);
    this.#variables = outer;
    this.#calls--;
  }

  #set(name: string, value: Value, assigns: boolean): void {
    const known = assigns ? this.#variables.findLast((variable) => variable.name === name) : undefined;
    if (known !== undefined) known.value = value;
    else this.#variables.push({ name, value });
  }

  /** `acceptsUndefined`: the reader takes an undefined key as false. */
  #evaluate(pipe: Pipe, dot: Value, acceptsUndefined = false): Value {
    let value: Value;
    pipe.commands.forEach((command, stage) => {
      value = this.#command(command, dot, stage === 0 ? undefined : { value });
    });
    if (!acceptsUndefined && kindOf(value) === 'undefined') fail(`${describe(value)} is used without a default`);
    for (const name of pipe.variables) this.#set(name, value, pipe.assigns);
    return value;
  }

  #command(command: Command, dot: Value, piped: { readonly value: Value } | undefined): Value {
    this.#spend(1);
    const [first, ...rest] = command.operands;
    if (first!.kind !== 'function') return this.#operand(first!, dot);
    const called = TEMPLATE_FUNCTIONS.get(first!.name)!;
    if (called.lazy !== undefined) {
      const wanted = called.lazy === 'or';
      for (const operand of rest) {
        const value = this.#operand(operand, dot);
        if (isTrue(value) === wanted) return value;
        if (operand === rest.at(-1) && piped === undefined) return value;
      }
      return piped?.value;
    }
    const args = rest.map((operand) => this.#operand(operand, dot));
    if (piped !== undefined) args.push(piped.value);
    return this.#apply(called, args);
  }

  #apply(
    called: { readonly name: string; readonly acceptsUndefined: boolean; call(args: readonly Value[]): Value },
    args: readonly Value[],
  ): Value {
    if (!called.acceptsUndefined)
      for (const each of args) if (kindOf(each) === 'undefined') fail(`${describe(each)} is used without a default`);
    for (const each of args) if (Array.isArray(each)) this.#spend(Math.ceil(each.length / 16));
    const result = called.call(args);
    if (typeof result === 'string') this.#spend(Math.ceil(result.length / 65_536));
    else if (Array.isArray(result)) this.#spend(Math.ceil(result.length / 16));
    return result;
  }

  #operand(operand: Operand, dot: Value): Value {
    switch (operand.kind) {
      case 'dot':
        return dot;
      case 'nil':
        return null;
      case 'bool':
      case 'text':
        return operand.value;
      case 'number':
        return operand.float ? float(operand.value) : operand.value;
      case 'field':
        return fields(dot, operand.path, '');
      case 'variable': {
        const variable = this.#variables.findLast((each) => each.name === operand.name);
        return fields(variable?.value, operand.path, operand.name);
      }
      case 'pipe':
        return this.#evaluate(operand.pipe, dot, true);
      case 'chain':
        return fields(this.#operand(operand.of, dot), operand.path, '(…)');
      case 'function':
        return this.#apply(TEMPLATE_FUNCTIONS.get(operand.name)!, []);
    }
  }
}

/** Follows a field chain; a missing key yields an undefined that goes on through further fields. */
function fields(from: Value, path: readonly string[], start: string): Value {
  let value = from;
  let seen = start;
  for (const name of path) {
    seen += `.${name}`;
    const kind = kindOf(value);
    if (kind === 'undefined') value = new Missing(value instanceof Missing ? `${value.path}.${name}` : seen);
    else if (kind === 'map')
      value = hasMember(value, name)
        ? (member(value, name) ?? (member(value, name) === null ? null : new Missing(seen)))
        : new Missing(seen);
    else return fail(`${seen}: ${describe(value)} has no field "${name}"`);
  }
  return value;
}

/** @throws CodedError EVAL_ERROR naming the path or the limit */
export function renderTemplate(template: Template, data: Readonly<Record<string, unknown>>): string {
  return new Renderer(template, data).run(data);
}
