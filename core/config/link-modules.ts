/** References between resources and modules of one entry: resolved, rewritten to the forward form, and ordered (config.md §5.3, §6). */
import type { Problem, SourceLocation } from '../base/problem.ts';
import type { Ref } from '../policy/body.ts';
import { type Edge, orderNodes } from '../policy/graph.ts';
import type { FoldedModule, Instance } from './fold-module.ts';
import type { ConfigSnapshot, Named } from './snapshot.ts';

export type LinkKind = 'depends_on' | 'before' | 'notify' | 'subscribes';

/** One edge as declared, for trace. */
export interface DeclaredEdge {
  readonly from: Ref;
  readonly to: Ref;
  readonly kind: LinkKind;
  readonly at: SourceLocation;
}

export interface LinkedResource {
  readonly instance: Instance;
  readonly dependsOn: readonly Ref[];
  readonly notify: readonly Ref[];
}

export interface LinkedModule {
  readonly folded: FoldedModule;
  readonly notify: readonly Ref[];
  readonly subscribes: readonly Ref[];
  /** execution order; resources whose condition is constantly false are left out */
  readonly resources: readonly LinkedResource[];
}

export interface Linked {
  /** execution order; modules whose condition is constantly false are left out */
  readonly modules: readonly LinkedModule[];
  readonly edges: readonly DeclaredEdge[];
  readonly problems: readonly Problem[];
}

type Target = { readonly module: FoldedModule; readonly instances: readonly Instance[] | undefined } | 'absent' | 'unknown';

class RefSet {
  readonly #refs = new Map<string, Ref>();
  add(ref: Ref): void {
    this.#refs.set(`${ref.module}\0${ref.resource ?? ''}`, ref);
  }
  get list(): readonly Ref[] {
    return [...this.#refs.values()];
  }
}

/** Instances of a module by name and by group handle; REF-2 for names that occur twice. */
class NameTable {
  readonly byName = new Map<string, readonly Instance[]>();
  constructor(folded: FoldedModule, report: (problem: Problem) => void) {
    const { module, resources } = folded.prepared;
    for (const { declaration } of resources) if (declaration.foreach !== undefined) this.byName.set(declaration.name.value, []);
    const groups = new Map<string, Instance[]>();
    const single = new Map<string, Instance>();
    for (const instance of folded.instances) {
      const { name, group, declaration } = instance;
      if (group !== undefined) groups.set(group, [...(groups.get(group) ?? []), instance]);
      const other = single.get(name);
      if (other === undefined) single.set(name, instance);
      else
        report({
          rule: 'REF-2',
          severity: 'error',
          message: `resource "${name}" occurs twice in module "${module.name}", first on line ${other.declaration.at.line}`,
          at: declaration.name.at,
          module: module.name,
          resource: name,
        });
    }
    for (const [group, instances] of groups) this.byName.set(group, instances);
    for (const [name, instance] of single) this.byName.set(name, [instance]);
  }
}

class Linker {
  readonly problems: Problem[] = [];
  readonly edges: DeclaredEdge[] = [];
  readonly #config: ConfigSnapshot;
  readonly #modules: ReadonlyMap<string, FoldedModule>;
  readonly #names = new Map<string, NameTable>();
  readonly #depends = new Map<Instance, RefSet>();
  readonly #notify = new Map<Instance, RefSet>();
  readonly #moduleNotify = new Map<string, RefSet>();
  readonly #moduleSubscribes = new Map<string, RefSet>();
  readonly #owner = new Map<Instance, string>();
  /** module → modules that come before it */
  readonly #moduleBefore = new Map<string, Set<string>>();
  readonly #inside = new Map<string, [Instance, Instance][]>();

  constructor(config: ConfigSnapshot, modules: readonly FoldedModule[]) {
    this.#config = config;
    this.#modules = new Map(modules.map((folded) => [folded.prepared.module.name, folded]));
    for (const folded of modules) {
      const { name } = folded.prepared.module;
      this.#names.set(name, new NameTable(folded, (problem) => this.problems.push(problem)));
      this.#moduleBefore.set(name, new Set(folded.prepared.module.dependsOn.map((need) => need.name)));
      this.#moduleNotify.set(name, new RefSet());
      this.#moduleSubscribes.set(name, new RefSet());
      this.#inside.set(name, []);
      for (const instance of folded.instances) {
        this.#owner.set(instance, name);
        this.#depends.set(instance, new RefSet());
        this.#notify.set(instance, new RefSet());
      }
    }
  }

  #error(rule: string, severity: 'error' | 'warning', at: SourceLocation, message: string, module: string, resource?: string): void {
    this.problems.push({ rule, severity, message, at, module, ...(resource === undefined ? {} : { resource }) });
  }

  #find(from: string, name: string): Target {
    const own = this.#names.get(from)?.byName.get(name);
    if (own !== undefined) return { module: this.#modules.get(from)!, instances: own };
    const slash = name.indexOf('/');
    const moduleName = slash < 0 ? name : name.slice(0, slash);
    if (!this.#config.modules.has(moduleName)) return 'unknown';
    const module = this.#modules.get(moduleName);
    if (slash < 0) return module === undefined ? 'absent' : { module, instances: undefined };
    const resource = name.slice(slash + 1);
    if (module === undefined)
      return this.#config.modules.get(moduleName)!.resources.some((each) => each.name.value === resource || each.foreach !== undefined)
        ? 'absent'
        : 'unknown';
    const instances = this.#names.get(moduleName)!.byName.get(resource);
    return instances === undefined ? 'unknown' : { module, instances };
  }

  /** The target, or undefined after a finding. */
  #resolve(from: string, kind: LinkKind, link: Named, resource?: string): Exclude<Target, string> | undefined {
    const target = this.#find(from, link.name);
    if (target === 'unknown') {
      const isAction = link.name.includes('{{');
      this.#error(
        isAction ? 'TPL-4' : 'REF-1',
        'error',
        link.at,
        isAction ? `"${kind}" is never rendered` : `"${kind}": there is no resource or module "${link.name}"`,
        from,
        resource,
      );
      return undefined;
    }
    if (target !== 'absent') return target;
    const isOrder = kind === 'depends_on' || kind === 'before';
    const message = `"${kind}": "${link.name}" belongs to a module this entry does not have`;
    this.#error(isOrder ? 'REF-6' : 'REF-10', isOrder ? 'error' : 'warning', link.at, message, from, resource);
    return undefined;
  }

  linkResource(module: string, instance: Instance): void {
    for (const { key, name, at } of instance.links) {
      const target = this.#resolve(module, key, { name, at }, instance.name);
      if (target === undefined) continue;
      const other = target.module.prepared.module.name;
      const self: Ref = { module, resource: instance.name };
      this.edges.push({ from: self, to: refText(other, name, module), kind: key, at });
      if (
        target.instances?.includes(instance) === true ||
        (target.instances === undefined && other === module && (key === 'depends_on' || key === 'before'))
      ) {
        this.#error('CYC-3', 'error', at, `"${instance.name}" refers to itself`, module, instance.name);
        continue;
      }
      if (target.instances === undefined) this.#toModule(key, instance, module, target.module);
      else for (const each of target.instances) this.#toInstance(key, instance, module, each, other);
    }
  }

  #toInstance(key: LinkKind, instance: Instance, module: string, other: Instance, otherModule: string): void {
    const forward = key === 'depends_on' || key === 'subscribes';
    const [first, second] = forward ? [other, instance] : [instance, other];
    const [firstModule, secondModule] = forward ? [otherModule, module] : [module, otherModule];
    const isOrder = key === 'depends_on' || key === 'before';
    if (firstModule === secondModule) this.#inside.get(module)!.push([first, second]);
    else if (isOrder) this.#moduleBefore.get(secondModule)!.add(firstModule);
    if (first.dropped || second.dropped) return;
    if (isOrder) this.#depends.get(second)!.add({ module: firstModule, resource: first.name });
    else this.#notify.get(first)!.add({ module: secondModule, resource: second.name });
  }

  #toModule(key: LinkKind, instance: Instance, module: string, other: FoldedModule): void {
    const otherName = other.prepared.module.name;
    const self: Ref = { module, resource: instance.name };
    if (key === 'depends_on') this.#moduleBefore.get(module)!.add(otherName);
    if (key === 'before') this.#moduleBefore.get(otherName)!.add(module);
    if (other.dropped || instance.dropped) return;
    if (key === 'depends_on') this.#depends.get(instance)!.add({ module: otherName });
    else if (key === 'before') for (const each of other.instances) this.#depends.get(each)!.add(self);
    else if (key === 'notify') this.#notify.get(instance)!.add({ module: otherName });
    else this.#moduleNotify.get(otherName)!.add(self);
  }

  linkModule(folded: FoldedModule): void {
    const { module } = folded.prepared;
    for (const need of module.dependsOn) {
      this.edges.push({ from: { module: module.name }, to: { module: need.name }, kind: 'depends_on', at: need.at });
      if (need.name === module.name) this.#error('CYC-3', 'error', need.at, `module "${module.name}" depends on itself`, module.name);
      const other = this.#modules.get(need.name);
      if (other === undefined || other.dropped || other === folded) continue;
      for (const instance of folded.instances) this.#depends.get(instance)!.add({ module: need.name });
    }
    for (const [key, links] of [['notify', module.notify] as const, ['subscribes', module.subscribes] as const]) {
      for (const link of links) {
        const target = this.#resolve(module.name, key, link);
        if (target === undefined) continue;
        const other = target.module.prepared.module.name;
        this.edges.push({ from: { module: module.name }, to: refText(other, link.name, module.name), kind: key, at: link.at });
        if (target.module.dropped) continue;
        const into = (key === 'notify' ? this.#moduleNotify : this.#moduleSubscribes).get(module.name)!;
        if (target.instances === undefined) into.add({ module: other });
        else for (const each of target.instances) if (!each.dropped) into.add({ module: other, resource: each.name });
      }
    }
  }

  orderResources(folded: FoldedModule): readonly LinkedResource[] {
    const { module } = folded.prepared;
    const position = new Map(folded.instances.map((instance, index) => [instance, index]));
    const edges: Edge[] = this.#inside.get(module.name)!.map(([first, second]) => [position.get(first)!, position.get(second)!]);
    const ordered = orderNodes(folded.instances.length, edges);
    if (ordered.cycle !== undefined) {
      const path = ordered.cycle.map((index) => folded.instances[index]!.name).join(' → ');
      this.#error('CYC-2', 'error', folded.instances[ordered.cycle[0]!]!.declaration.at, `resources run in a circle: ${path}`, module.name);
    }
    const order = ordered.order ?? folded.instances.map((_, index) => index);
    return order
      .map((index) => folded.instances[index]!)
      .filter((instance) => !instance.dropped)
      .map((instance) => ({ instance, dependsOn: this.#depends.get(instance)!.list, notify: this.#notify.get(instance)!.list }));
  }

  orderModules(): readonly FoldedModule[] {
    const list = [...this.#modules.values()];
    const position = new Map(list.map((folded, index) => [folded.prepared.module.name, index]));
    const edges: Edge[] = [];
    for (const [name, earlier] of this.#moduleBefore)
      for (const before of earlier) {
        const from = position.get(before);
        if (from !== undefined && before !== name) edges.push([from, position.get(name)!]);
      }
    const ordered = orderNodes(list.length, edges);
    if (ordered.cycle === undefined) return ordered.order.map((index) => list[index]!);
    const path = ordered.cycle.map((index) => list[index]!.prepared.module.name).join(' → ');
    const first = list[ordered.cycle[0]!]!.prepared.module;
    this.#error('CYC-1', 'error', first.dependsOn[0]?.at ?? first.at, `modules depend on each other in a circle: ${path}`, first.name);
    return list;
  }

  moduleRefs(folded: FoldedModule): { notify: readonly Ref[]; subscribes: readonly Ref[] } {
    const { name } = folded.prepared.module;
    return { notify: this.#moduleNotify.get(name)!.list, subscribes: this.#moduleSubscribes.get(name)!.list };
  }
}

function refText(module: string, written: string, from: string): Ref {
  if (written === module && module !== from) return { module };
  return { module, resource: written.startsWith(`${module}/`) ? written.slice(module.length + 1) : written };
}

/** `modules` in the order of §3.4. */
export function linkModules(config: ConfigSnapshot, modules: readonly FoldedModule[]): Linked {
  const linker = new Linker(config, modules);
  for (const folded of modules) {
    linker.linkModule(folded);
    for (const instance of folded.instances) linker.linkResource(folded.prepared.module.name, instance);
  }
  const linked: LinkedModule[] = [];
  for (const folded of linker.orderModules()) {
    const resources = linker.orderResources(folded);
    if (!folded.dropped) linked.push({ folded, ...linker.moduleRefs(folded), resources });
  }
  return { modules: linked, edges: linker.edges, problems: linker.problems };
}
