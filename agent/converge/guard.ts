/** Self-protection on the machine itself: what a path really is once links, mounts and second names are followed (config.md §10.3). */
import { dirname, join } from 'node:path';
import { type GuardFinding, guardrailFindings } from '../../core/policy/guardrails.ts';
import type { ProtectedSet } from '../../core/policy/protected.ts';
import { textsOf } from '../../core/resources/attributes.ts';
import { resourceSpec } from '../../core/resources/index.ts';
import type { System } from '../system/system.ts';
import type { Attributes } from './render.ts';

/** Entries of a protected folder that are looked at for second names. */
const MAX_ENTRIES = 500;

export class Guard {
  readonly #system: System;
  readonly #set: ProtectedSet;
  #identities: ReadonlyMap<string, string> | undefined;

  constructor(system: System, set: ProtectedSet) {
    this.#system = system;
    this.#set = set;
  }

  async findings(type: string, attributes: Attributes, revert: boolean): Promise<readonly GuardFinding[]> {
    const resolvedPaths = await this.#resolved(type, attributes);
    return guardrailFindings({ type, attributes, revert, resolvedPaths }, this.#set);
  }

  async #resolved(type: string, attributes: Attributes): Promise<readonly string[]> {
    const touched = resourceSpec(type)?.touches?.(attributes) ?? [];
    const isHard = type === 'symlink' && textsOf(attributes['link_type']).some((kind) => kind.trim().toLowerCase() === 'hard');
    const found: string[] = [];
    for (const path of [...touched, ...(isHard ? textsOf(attributes['to']) : [])]) {
      if (!path.startsWith('/')) continue;
      const real = await this.#system.realPath(path);
      found.push(real, ...(await this.#sameThings(real)));
    }
    return found;
  }

  /** A protected file or folder that the path, or a folder above it, is under another name: hard links and bind mounts. */
  async #sameThings(path: string): Promise<readonly string[]> {
    const identities = await this.#protectedIdentities();
    const found: string[] = [];
    let below = '';
    for (let place = path; place !== '/'; place = dirname(place)) {
      const stat = await this.#system.stat(place);
      const known = stat === undefined ? undefined : identities.get(stat.identity);
      if (known !== undefined) found.push(join(known, below));
      below = join(place.slice(dirname(place).length), below);
    }
    return found;
  }

  async #protectedIdentities(): Promise<ReadonlyMap<string, string>> {
    if (this.#identities !== undefined) return this.#identities;
    const found = new Map<string, string>();
    for (const path of this.#set.paths) {
      if (!path.startsWith('/')) continue;
      const stat = await this.#system.stat(path);
      if (stat === undefined) continue;
      found.set(stat.identity, path);
      if (stat.kind !== 'directory') continue;
      for (const name of (await this.#system.list(path)).slice(0, MAX_ENTRIES)) {
        const inside = await this.#system.stat(join(path, name));
        if (inside !== undefined) found.set(inside.identity, join(path, name));
      }
    }
    this.#identities = found;
    return found;
  }
}
