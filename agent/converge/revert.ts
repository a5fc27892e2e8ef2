/** Undoing instead of applying (config.md §5.7): what the inverse of a type is, and what is remembered so that it happens once. */
import { createHash } from 'node:crypto';
import { CodedError } from '../../core/base/errors.ts';
import { canonicalJson } from '../../core/base/json.ts';
import type { BodyResource } from '../../core/policy/body.ts';
import { resourceSpec } from '../../core/resources/index.ts';
import type { Change } from '../executors/executor.ts';
import type { StateStore } from '../state/state-store.ts';
import type { Attributes } from './render.ts';

/** Types that put back the value found before their first change. */
const RESTORING: ReadonlySet<string> = new Set(['hostname', 'timezone']);

export class Reverts {
  readonly #memory: StateStore['memory'];

  constructor(memory: StateStore['memory']) {
    this.#memory = memory;
  }

  isSettled(module: string, resource: BodyResource): boolean {
    return this.#memory.get(settledKey(module, resource)) === attributeHash(resource);
  }

  async settle(module: string, resource: BodyResource): Promise<void> {
    await this.#memory.set(settledKey(module, resource), attributeHash(resource));
    if (RESTORING.has(resource.type)) await this.#memory.set(originalKey(module, resource), undefined);
  }

  /** An ordinary apply arms the revert again. */
  async arm(module: string, resource: BodyResource): Promise<void> {
    if (this.#memory.get(settledKey(module, resource)) !== undefined) await this.#memory.set(settledKey(module, resource), undefined);
  }

  /** Remembers what was there before the first change. */
  async record(module: string, resource: BodyResource, changes: readonly Change[]): Promise<void> {
    if (!RESTORING.has(resource.type) || this.#memory.get(originalKey(module, resource)) !== undefined) return;
    const before = changes.find(({ attribute }) => attribute === resourceSpec(resource.type)?.primary)?.from;
    if (typeof before === 'string' && before !== '') await this.#memory.set(originalKey(module, resource), before);
  }

  /** The attributes of the inverse. @throws CodedError COMMAND_FAILED when there is none */
  inverse(module: string, resource: BodyResource, attributes: Attributes): Attributes {
    const { type } = resource;
    if (type === 'service') return { ...attributes, state: 'stopped', enabled: 'false' };
    if (resourceSpec(type)?.states.includes('absent') === true) return { ...attributes, state: 'absent' };
    if (RESTORING.has(type)) {
      const original = this.#memory.get(originalKey(module, resource));
      if (original === undefined) throw new CodedError('COMMAND_FAILED', 'no value from before the first change was recorded');
      return { ...attributes, [resourceSpec(type)!.primary]: original };
    }
    const command = attributes['on_revert'];
    if (typeof command !== 'string') throw new CodedError('COMMAND_FAILED', `type ${type} has nothing to revert with`);
    const { creates, onlyif, unless, ...rest } = attributes;
    return { ...rest, command };
  }
}

const settledKey = (module: string, { name }: BodyResource) => `revert:${module}/${name}`;
const originalKey = (module: string, { name }: BodyResource) => `original:${module}/${name}`;

/** Of the text of the policy, not of rendered values: no hash of a secret is kept. */
function attributeHash({ type, attrs, case: choice }: BodyResource): string {
  return createHash('sha256')
    .update(canonicalJson({ type, attrs, choice: choice ?? null }))
    .digest('hex');
}
