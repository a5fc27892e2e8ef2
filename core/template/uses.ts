/** What a template reads: for checks before publish, without data and without rendering. */
import type { Node, Operand, Pipe, Template } from './ast.ts';

export interface TemplateUse {
  readonly root: 'Vars' | 'Traits' | 'Envoy' | 'Module' | 'Name' | 'Item' | 'Each' | 'Index' | '(all)';
  readonly path: readonly string[];
  /** an undefined key does no harm here: default, coalesce, required, if, with, and, or, not, empty, hasKey, or inside an if or with over it */
  readonly guarded: boolean;
  /** the whole map under `root` and `path` is read: ranged over, printed, handed on, or indexed with a key that is not constant */
  readonly whole: boolean;
}

const ROOTS: ReadonlySet<string> = new Set(['Vars', 'Traits', 'Envoy', 'Module', 'Name', 'Item', 'Each', 'Index']);
const GUARDS: ReadonlySet<string> = new Set(['default', 'coalesce', 'required', 'and', 'or', 'not', 'empty', 'hasKey']);
const MAX_VISITS = 10_000;

/** A place below the data, or undefined when it cannot be told before rendering. */
type Place = readonly string[] | undefined;

function isRoot(name: string | undefined): name is TemplateUse['root'] {
  return name !== undefined && ROOTS.has(name);
}

class UseCollector {
  readonly uses: TemplateUse[] = [];
  readonly #template: Template;
  readonly #called = new Set<string>();
  readonly #guards: string[] = [];
  #variables: { readonly name: string; place: Place }[] = [{ name: '$', place: [] }];
  #visits = 0;

  constructor(template: Template) {
    this.#template = template;
  }

  walk(nodes: readonly Node[], dot: Place): void {
    for (const node of nodes) {
      if (++this.#visits > MAX_VISITS) {
        this.#add([], false);
        return;
      }
      if (node.kind === 'action') this.#pipe(node.pipe, dot, false);
      else if (node.kind === 'template') this.#call(node.name, node.pipe, dot);
      else if (node.kind === 'if' || node.kind === 'with' || node.kind === 'range') this.#control(node, dot);
    }
  }

  #control(node: Extract<Node, { kind: 'if' | 'with' | 'range' }>, dot: Place): void {
    const mark = this.#variables.length;
    const place = this.#pipe(node.pipe, dot, node.kind !== 'range');
    const guards = this.#guards.length;
    if (node.kind !== 'range') this.#guards.push(...this.#tested(node.pipe, dot));
    if (node.kind === 'range') for (const variable of this.#variables.slice(mark)) variable.place = undefined;
    this.walk(node.body, node.kind === 'if' ? dot : node.kind === 'with' ? place : undefined);
    this.#guards.length = guards;
    this.#variables.length = mark;
    this.walk(node.otherwise, dot);
  }

  /** The places a condition tests by truth: `if .Vars.a`, `if and .Vars.a .Vars.b`, `if hasKey .Vars "a"`. */
  #tested(pipe: Pipe, dot: Place): string[] {
    if (pipe.commands.length !== 1) return [];
    const [first, ...rest] = pipe.commands[0]!.operands;
    if (first!.kind === 'function' && first!.name === 'hasKey' && rest[1]?.kind === 'text') {
      const map = this.#placeOf(rest[0]!, dot);
      return map === undefined ? [] : [[...map, rest[1].value].join('\0')];
    }
    const operands = first!.kind !== 'function' ? [first!] : first!.name === 'and' ? rest : [];
    return operands.flatMap((operand) => {
      if (operand.kind === 'pipe') return this.#tested(operand.pipe, dot);
      const place = this.#placeOf(operand, dot);
      return place === undefined ? [] : [place.join('\0')];
    });
  }

  #call(name: string, pipe: Pipe | undefined, dot: Place): void {
    let place: Place;
    const only = pipe?.commands.length === 1 && pipe.commands[0]!.operands.length === 1 ? pipe.commands[0]!.operands[0]! : undefined;
    if (only !== undefined && only.kind !== 'function') place = this.#placeOf(only, dot);
    if (pipe !== undefined && (place === undefined || (place.length > 1 && isRoot(place[0]))))
      place = this.#pipe(pipe, dot, false) ?? place;
    const key = `${name}\0${place?.join('.') ?? '?'}`;
    const body = this.#template.defined.get(name);
    if (body === undefined || this.#called.has(key)) return;
    this.#called.add(key);
    const outer = this.#variables;
    this.#variables = [{ name: '$', place }];
    this.walk(body, place);
    this.#variables = outer;
  }

  #pipe(pipe: Pipe, dot: Place, guarded: boolean): Place {
    let place: Place;
    pipe.commands.forEach((command, stage) => {
      const [first, ...rest] = command.operands;
      const next = pipe.commands[stage + 1]?.operands[0];
      const pipedToGuard = next === undefined ? guarded : next.kind === 'function' && GUARDS.has(next.name);
      if (first!.kind !== 'function') place = this.#read(first!, dot, pipedToGuard);
      else place = this.#function(first!.name, rest, dot, pipedToGuard);
    });
    for (const name of pipe.variables) {
      const known = pipe.assigns ? this.#variables.findLast((variable) => variable.name === name) : undefined;
      if (known === undefined) this.#variables.push({ name, place: pipe.assigns ? undefined : place });
      else known.place = undefined;
    }
    return place;
  }

  #function(name: string, args: readonly Operand[], dot: Place, guarded: boolean): Place {
    const map = args[0] === undefined ? undefined : this.#placeOf(args[0], dot);
    const keyed = (name === 'index' || name === 'get' || name === 'hasKey') && map !== undefined && args.length > 1;
    if (!keyed) {
      for (const operand of args) this.#read(operand, dot, GUARDS.has(name));
      return undefined;
    }
    const keys = args.slice(1);
    for (const key of keys) if (key.kind !== 'text' && key.kind !== 'number') this.#read(key, dot, false);
    const constant = keys.findIndex((key) => key.kind !== 'text');
    const place = [...map, ...keys.slice(0, constant < 0 ? keys.length : constant).map((key) => (key.kind === 'text' ? key.value : ''))];
    this.#add(place, guarded || name === 'hasKey', constant >= 0);
    return constant < 0 && name !== 'hasKey' ? place : undefined;
  }

  #placeOf(operand: Operand, dot: Place): Place {
    if (operand.kind === 'dot') return dot;
    if (operand.kind === 'field') return dot === undefined ? undefined : [...dot, ...operand.path];
    if (operand.kind === 'variable') {
      const place = this.#variables.findLast((variable) => variable.name === operand.name)?.place;
      return place === undefined ? undefined : [...place, ...operand.path];
    }
    if (operand.kind === 'pipe' || operand.kind === 'chain') {
      const inner = operand.kind === 'pipe' ? operand : operand.of;
      if (inner.kind !== 'pipe' || inner.pipe.commands.length !== 1 || inner.pipe.commands[0]!.operands.length !== 1) return undefined;
      const only = inner.pipe.commands[0]!.operands[0]!;
      const place = only.kind === 'function' ? undefined : this.#placeOf(only, dot);
      return place === undefined ? undefined : [...place, ...(operand.kind === 'chain' ? operand.path : [])];
    }
    return undefined;
  }

  #read(operand: Operand, dot: Place, guarded: boolean): Place {
    const place = this.#placeOf(operand, dot);
    if (place !== undefined) {
      this.#add(place, guarded);
      return place;
    }
    if (operand.kind === 'pipe') return this.#pipe(operand.pipe, dot, guarded);
    if (operand.kind !== 'chain') return undefined;
    const below = this.#read(operand.of, dot, guarded);
    if (below === undefined) return undefined;
    this.#add([...below, ...operand.path], guarded);
    return [...below, ...operand.path];
  }

  #add(place: readonly string[], guarded: boolean, indexed = false): void {
    const [root, ...path] = place;
    const text = place.join('\0');
    const isGuarded = guarded || this.#guards.some((guard) => text === guard || text.startsWith(`${guard}\0`));
    if (root === undefined) this.uses.push({ root: '(all)', path: [], guarded: isGuarded, whole: true });
    else if (isRoot(root)) this.uses.push({ root, path, guarded: isGuarded, whole: indexed || path.length === 0 });
    else this.uses.push({ root: '(all)', path: place, guarded: isGuarded, whole: false });
  }
}

/** Every place the template may read, in text order; once per use. */
export function templateUses(template: Template): readonly TemplateUse[] {
  const collector = new UseCollector(template);
  collector.walk(template.nodes, []);
  return collector.uses;
}
