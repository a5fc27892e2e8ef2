/** Who is triggered by whom, and what is still to do in pass 2 (config.md §6.5). */
import type { Body, BodyModule, BodyResource, Ref } from '../../core/policy/body.ts';
import type { PendingTrigger } from '../state/state-store.ts';

export interface Target {
  readonly module: BodyModule;
  readonly resource: BodyResource;
}

export const keyOf = (module: string, resource: string) => `${module}/${resource}`;

/** Targets of pass 2 in global order, each at most once. */
export class Triggers {
  readonly #all: readonly Target[];
  readonly #position = new Map<string, number>();
  readonly #modules: ReadonlyMap<string, BodyModule>;
  /** `module/resource` or `module` → modules that subscribe to it */
  readonly #subscribers = new Map<string, string[]>();
  readonly #pending = new Map<string, Set<string>>();
  readonly #done = new Set<string>();

  constructor(body: Body, persisted: readonly PendingTrigger[]) {
    this.#all = body.modules.flatMap((module) => module.resources.map((resource) => ({ module, resource })));
    for (const [index, { module, resource }] of this.#all.entries()) this.#position.set(keyOf(module.name, resource.name), index);
    this.#modules = new Map(body.modules.map((module) => [module.name, module]));
    for (const module of body.modules)
      for (const { module: source, resource } of module.subscribes) {
        const key = resource === undefined ? source : keyOf(source, resource);
        this.#subscribers.set(key, [...(this.#subscribers.get(key) ?? []), module.name]);
      }
    for (const { module, resource, by } of persisted) for (const source of by) this.#add(keyOf(module, resource), source);
  }

  /** A resource has changed. */
  fire({ module, resource }: Target): void {
    const source = keyOf(module.name, resource.name);
    for (const ref of resource.notify) this.#fireRef(ref, source);
    for (const name of this.#subscribers.get(source) ?? []) this.#fireRef({ module: name }, source);
  }

  /** Something in a module has changed; once a module, at its end. */
  fireModule(module: BodyModule): void {
    for (const ref of module.notify) this.#fireRef(ref, module.name);
    for (const name of this.#subscribers.get(module.name) ?? []) this.#fireRef({ module: name }, module.name);
  }

  /** The first in global order that is pending and was not run in pass 2 yet. */
  next(accepts: (target: Target) => boolean): { readonly target: Target; readonly by: readonly string[] } | undefined {
    const positions = [...this.#pending.keys()]
      .filter((key) => !this.#done.has(key))
      .map((key) => this.#position.get(key)!)
      .sort((a, b) => a - b);
    const target = positions.map((position) => this.#all[position]!).find(accepts);
    if (target === undefined) return undefined;
    const key = keyOf(target.module.name, target.resource.name);
    return { target, by: [...this.#pending.get(key)!].sort() };
  }

  /** Pass 2 has run it: never again in this run. `keep` leaves the trigger for the next run. */
  finish({ module, resource }: Target, keep: boolean): void {
    const key = keyOf(module.name, resource.name);
    this.#done.add(key);
    if (!keep) this.#pending.delete(key);
  }

  /** What the next run begins with. */
  left(): readonly PendingTrigger[] {
    return [...this.#pending]
      .sort(([a], [b]) => this.#position.get(a)! - this.#position.get(b)!)
      .map(([key, by]) => {
        const { module, resource } = this.#all[this.#position.get(key)!]!;
        return { module: module.name, resource: resource.name, by: [...by].sort() };
      });
  }

  #fireRef({ module, resource }: Ref, source: string): void {
    const all = this.#modules.get(module)?.resources ?? [];
    const waiting = all.filter((one) => one.trigger_only);
    const names = resource === undefined ? (waiting.length > 0 ? waiting : all).map(({ name }) => name) : [resource];
    for (const name of names) this.#add(keyOf(module, name), source);
  }

  /** A target that is not in the policy any more is dropped; one that pass 2 has run already is not triggered again, which ends every loop. */
  #add(key: string, source: string): void {
    if (!this.#position.has(key) || this.#done.has(key)) return;
    const by = this.#pending.get(key) ?? new Set<string>();
    this.#pending.set(key, by.add(source));
  }
}
