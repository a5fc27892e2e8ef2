/** IDEM-1..10: what would act on every run, or fight with itself (config.md §10.2). */
import { RE2JS } from 're2js';
import type { Json } from '../../base/json.ts';
import { canonicalJson } from '../../base/json.ts';
import type { Problem, Severity } from '../../base/problem.ts';
import { resourceSpec } from '../../resources/index.ts';
import type { Ast } from '../../when/ast.ts';
import type { CompiledEntry } from '../compile.ts';
import { parseText } from '../expressions.ts';
import type { Instance } from '../fold-module.ts';
import type { Rule } from './rule.ts';
import { type Variant, variantsOfEntry } from './variants.ts';

const COMMANDS = new Set(['exec', 'powershell', 'ssh_exec']);
const EDITORS = new Set(['file_line', 'blockinfile', 'replace', 'ini', 'json_file', 'field_edit']);
const VOLATILE = new Set(['time', 'uptime', 'loadavg', 'memory', 'ports', 'swap']);

/** Rules that `--dangerous` lowers to warnings. */
export const DANGEROUS_RULES: ReadonlySet<string> = new Set(['IDEM-1', 'IDEM-2', 'IDEM-3', 'IDEM-5']);

function word(value: Json | undefined): string {
  return typeof value === 'string' ? value.trim().toLowerCase() : '';
}

function isGuarded(attributes: Readonly<Record<string, Json>>): boolean {
  return ['onlyif', 'unless', 'creates'].some((key) => attributes[key] !== undefined);
}

/** The rule an unguarded, untriggered resource of this kind breaks. */
function repeatRule(type: string, attributes: Readonly<Record<string, Json>>): { rule: string; message: string } | undefined {
  const state = word(attributes['state']);
  if (COMMANDS.has(type))
    return isGuarded(attributes)
      ? undefined
      : { rule: 'IDEM-1', message: 'runs on every pass: give it onlyif, unless or creates, or make it trigger-only' };
  if (type === 'service' && (state === 'restarted' || state === 'reloaded'))
    return { rule: 'IDEM-2', message: `"state: ${state}" acts on every pass: make it trigger-only with when: "changed"` };
  if ((type === 'docker_compose' || type === 'iis_app_pool') && state === 'restarted')
    return { rule: 'IDEM-2', message: '"state: restarted" acts on every pass: make it trigger-only with when: "changed"' };
  if ((type === 'reboot' || type === 'reboot_windows') && !isGuarded(attributes))
    return { rule: 'IDEM-3', message: 'reboots on every pass: guard it or make it trigger-only' };
  if (type.startsWith('docker_') && word(attributes['pull']) === 'always')
    return { rule: 'IDEM-3', message: '"pull: always" acts on every pass: make it trigger-only' };
  return undefined;
}

function replaceStillMatches({ instance, attributes }: Variant): boolean {
  const pattern = attributes['match_pattern'];
  const replacement = attributes['replacement'];
  if (instance.declaration.type !== 'replace' || typeof pattern !== 'string' || typeof replacement !== 'string') return false;
  if (pattern.includes('{{') || replacement.includes('{{')) return false;
  try {
    return RE2JS.compile(pattern).matcher(replacement).find();
  } catch {
    // a pattern that does not compile is reported by the type's own schema
    return false;
  }
}

function latestMessage(type: string, attributes: Readonly<Record<string, Json>>): string | undefined {
  if (word(attributes['state']) === 'latest') return '"state: latest" makes two runs of one release differ';
  const image = type.startsWith('docker_') ? word(attributes['image']) : '';
  if (image !== '' && !image.includes('{{') && !image.includes('@')) {
    const tag = /:([^/:]+)$/.exec(image)?.[1];
    if ((tag ?? 'latest') === 'latest' && attributes['pull'] !== undefined) return `image "${image}" has no fixed tag`;
  }
  return undefined;
}

/** Facts a condition asserts of constants that exclude each other: `os_family('debian')`, `!os_family('debian')`. */
function assertions(ast: Ast | undefined, into: Map<string, string>): void {
  if (ast === undefined) return;
  if (ast.op === 'and') {
    assertions(ast.left, into);
    assertions(ast.right, into);
    return;
  }
  const call = ast.op === 'not' ? ast.of : ast;
  if (call.op !== 'call') return;
  const text = canonicalJson(call.args);
  into.set(`${call.name}${text}`, ast.op === 'not' ? 'no' : 'yes');
  if (ast.op === 'call' && ['os_family', 'distro', 'arch'].includes(call.name)) into.set(call.name, text);
}

function assertionsOf(entry: CompiledEntry, variant: Variant): ReadonlyMap<string, string> {
  const facts = new Map<string, string>();
  assertions(variant.instance.cond?.ast, facts);
  assertions(entry.linked.modules.find(({ folded }) => folded.prepared.module.name === variant.module)?.folded.cond?.ast, facts);
  return facts;
}

/** Two resources that can never both apply. */
function excludeEachOther(entry: CompiledEntry, a: Variant, b: Variant): boolean {
  const left = assertionsOf(entry, a);
  const right = assertionsOf(entry, b);
  for (const [key, value] of left) if (right.has(key) && right.get(key) !== value) return true;
  return false;
}

class EntryCheck {
  readonly problems: Problem[] = [];
  readonly #entry: CompiledEntry;
  readonly #byPath = new Map<string, Variant[]>();
  readonly #byIdentity = new Map<string, Variant[]>();
  readonly #repeating = new Map<string, Instance>();
  readonly #quiet = new Map<string, Instance>();

  constructor(entry: CompiledEntry) {
    this.#entry = entry;
  }

  report(
    rule: string,
    severity: Severity,
    { module, instance }: Pick<Variant, 'module' | 'instance'>,
    message: string,
    hint?: string,
  ): void {
    const base = { rule, severity, message, at: instance.declaration.at, module, resource: instance.name, entry: this.#entry.entry.id };
    this.problems.push(hint === undefined ? base : { ...base, hint });
  }

  variant(variant: Variant, volatileTraits: Map<string, string>): void {
    const { instance, attributes, module } = variant;
    const { type } = instance.declaration;
    const repeat = repeatRule(type, attributes);
    if (repeat !== undefined && !instance.triggerOnly) {
      this.report(repeat.rule, 'error', variant, repeat.message);
      this.#repeating.set(`${module}/${instance.name}`, instance);
    }
    const latest = latestMessage(type, attributes);
    if (latest !== undefined) this.report('IDEM-4', 'warning', variant, latest);
    if (replaceStillMatches(variant))
      this.report('IDEM-5', 'error', variant, 'the replacement still matches the pattern, so it is replaced on every run');
    if (type === 'service' && ['', 'running'].includes(word(attributes['state']))) this.#quiet.set(`${module}/${instance.name}`, instance);
    this.#volatile(variant, volatileTraits);
    const target = attributes['target_path'] ?? attributes['path'];
    const writes =
      type === 'file' &&
      (attributes['content'] !== undefined || attributes['source'] !== undefined) &&
      word(attributes['state']) !== 'absent';
    if (typeof target === 'string' && !target.includes('{{') && (writes || EDITORS.has(type)))
      push(this.#byPath, target.replaceAll(/\/+/g, '/'), variant);
    const primary = attributes[resourceSpec(type)?.primary ?? ''];
    // two lines of one file are two things: only types that own what they name count
    if (typeof primary === 'string' && !primary.includes('{{') && !EDITORS.has(type) && !COMMANDS.has(type))
      push(this.#byIdentity, `${type}\0${primary}`, variant);
  }

  #volatile(variant: Variant, volatileTraits: Map<string, string>): void {
    const content = variant.attributes['content'];
    if (typeof content !== 'string' || !content.includes('{{')) return;
    let trait = volatileTraits.get(content);
    if (trait === undefined) {
      const use = parseText(content, 'content').uses.find(
        ({ root, path }) => root === 'Traits' && path[0] !== undefined && VOLATILE.has(path[0]),
      );
      trait = use?.path.join('.') ?? '';
      volatileTraits.set(content, trait);
    }
    if (trait !== '') this.report('IDEM-8', 'warning', variant, `content reads the trait "${trait}", which changes all the time`);
  }

  finish(): void {
    for (const [path, variants] of this.#byPath) {
      const owner = variants.find(({ instance }) => instance.declaration.type === 'file');
      if (owner === undefined) continue;
      for (const editor of variants)
        if (EDITORS.has(editor.instance.declaration.type) && !excludeEachOther(this.#entry, owner, editor))
          this.report(
            'IDEM-6',
            'error',
            editor,
            `"${path}" is written whole by file "${owner.instance.name}" and edited here: they undo each other`,
          );
    }
    for (const variants of this.#byIdentity.values()) this.#duplicates(variants);
    for (const { folded, resources } of this.#entry.linked.modules)
      for (const { instance, notify } of resources)
        for (const ref of notify) {
          const name = `${ref.module}/${ref.resource ?? ''}`;
          const source = { module: folded.prepared.module.name, instance };
          if (this.#repeating.has(name))
            this.report('IDEM-9', 'error', source, `notifies "${name}", which is neither trigger-only nor guarded`);
          else if (this.#quiet.get(name)?.triggerOnly === false)
            this.report(
              'IDEM-10',
              'warning',
              source,
              `notifies "${name}", which does nothing when it runs again`,
              'notify a service with state: restarted and when: "changed"',
            );
        }
  }

  #duplicates(variants: readonly Variant[]): void {
    for (const [index, second] of variants.entries()) {
      if (second.instance.triggerOnly) continue;
      for (const first of variants.slice(0, index)) {
        if (first.instance === second.instance || first.instance.triggerOnly || excludeEachOther(this.#entry, first, second)) continue;
        const same = canonicalJson({ ...first.attributes, name: null }) === canonicalJson({ ...second.attributes, name: null });
        const message = `manages the same thing as "${first.module}/${first.instance.name}"${same ? '' : ' and wants something else'}`;
        this.report('IDEM-7', same ? 'warning' : 'error', second, message);
        break;
      }
    }
  }
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

export const idempotency: Rule = {
  name: 'idempotency',
  check({ compiled }) {
    const volatileTraits = new Map<string, string>();
    return compiled.flatMap((entry) => {
      const check = new EntryCheck(entry);
      for (const variant of variantsOfEntry(entry)) check.variant(variant, volatileTraits);
      check.finish();
      return check.problems;
    });
  },
};
