/** Whose failure holds back whom (config.md §6.3). */
import type { BodyModule, BodyResource, Ref } from '../../core/policy/body.ts';
import { keyOf } from './notify.ts';
import type { Verdict } from './one-resource.ts';

const FAILING_SKIPS: ReadonlySet<string> = new Set(['dependency_failed', 'secret_unavailable']);

export function hasFailed({ action, reason }: Pick<Verdict, 'action' | 'reason'>): boolean {
  return action === 'error' || action === 'blocked' || (action === 'skipped' && FAILING_SKIPS.has(reason ?? ''));
}

/** The latest verdict of every resource so far. */
export class Dependencies {
  readonly #verdicts = new Map<string, Verdict>();
  readonly #modules: ReadonlyMap<string, BodyModule>;

  constructor(modules: readonly BodyModule[]) {
    this.#modules = new Map(modules.map((module) => [module.name, module]));
  }

  note(module: string, resource: string, verdict: Verdict): void {
    this.#verdicts.set(keyOf(module, resource), verdict);
  }

  /** The first dependency that failed, as text; undefined when nothing holds the resource back. */
  failedOf(resource: BodyResource): string | undefined {
    const failed = resource.depends_on.find((ref) => this.#failed(ref));
    return failed === undefined ? undefined : failed.resource === undefined ? failed.module : keyOf(failed.module, failed.resource);
  }

  #failed({ module, resource }: Ref): boolean {
    if (resource !== undefined) {
      const verdict = this.#verdicts.get(keyOf(module, resource));
      return verdict !== undefined && hasFailed(verdict);
    }
    // a module holds back only when all of it that did anything failed
    const verdicts = (this.#modules.get(module)?.resources ?? []).flatMap(({ name }) => this.#verdicts.get(keyOf(module, name)) ?? []);
    const counted = verdicts.filter((verdict) => verdict.action !== 'skipped' || hasFailed(verdict));
    return counted.length > 0 && counted.every(hasFailed);
  }
}
