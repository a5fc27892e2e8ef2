/** Brings a stored release into memory: files checked, entries compiled, secrets epochs given, bodies finished. */
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { ProtectedSet } from '../../core/policy/protected.ts';
import type { SecretProvider } from '../secrets/provider.ts';
import { secretsDigest, versionsOf } from '../secrets/resolver.ts';
import type { CounterStore } from '../store/store.ts';
import type { ConfigThread } from './config-thread.ts';
import { type LiveRelease, liveRelease } from './live-release.ts';
import type { CompiledSummary, CompiledTree, TreePlace } from './messages.ts';
import type { StoredRelease } from './releases.ts';

export interface LoaderParts {
  readonly thread: ConfigThread;
  readonly clock: Clock;
  readonly secrets: SecretProvider;
  readonly counters: () => CounterStore;
  readonly protectedSet: ProtectedSet;
}

export class ReleaseLoader {
  readonly #parts: LoaderParts;

  constructor(parts: LoaderParts) {
    this.#parts = parts;
  }

  compile(place: TreePlace): Promise<CompiledTree> {
    const { thread, clock, protectedSet } = this.#parts;
    return thread.ask('compile', { ...place, today: new Date(clock.now()).toISOString().slice(0, 10), protectedSet });
  }

  /** One number per distinct (references, versions) of an entry, persisted and growing (config.md §9.3); 0 without references. */
  async epochs(
    entries: readonly Pick<CompiledSummary, 'id' | 'secretRefs'>[],
    requireAll: boolean,
  ): Promise<Readonly<Record<string, number>>> {
    const { secrets, counters } = this.#parts;
    const refs = [...new Set(entries.flatMap(({ secretRefs }) => secretRefs))];
    if (refs.length === 0) return {};
    const versions = await versionsOf(secrets, refs);
    const missing = [...versions].find(([, version]) => version === null)?.[0];
    if (requireAll && missing !== undefined)
      throw new CodedError('SECRET_MISSING', `the release needs the secret "${missing}", which is not here`, {
        hint: 'set it with vigocli secrets set',
      });
    const epochs: Record<string, number> = {};
    const store = counters();
    for (const { id, secretRefs } of entries)
      if (secretRefs.length > 0) epochs[id] = await store.numberOf('secrets_epoch', secretsDigest(secretRefs, versions));
    return epochs;
  }

  /** @throws CodedError RELEASE_INVALID when a byte differs from the manifest */
  async load(stored: StoredRelease, requireSecrets: boolean): Promise<LiveRelease> {
    const { thread } = this.#parts;
    const place = { directory: `${stored.path}/tree`, manifest: stored.manifest };
    const faults = await thread.ask('verifyFiles', place);
    if (faults.length > 0)
      throw new CodedError('RELEASE_INVALID', `release ${stored.name} does not verify: ${faults[0]}`, {
        details: { faults: faults.slice(0, 20) },
      });
    const tree = await this.compile(place);
    if (tree.root !== stored.manifest.root) throw new CodedError('RELEASE_INVALID', `release ${stored.name} changed while it was loaded`);
    return this.finish(stored, tree, requireSecrets);
  }

  async finish(stored: StoredRelease, tree: CompiledTree, requireSecrets: boolean): Promise<LiveRelease> {
    const { number, version } = stored.manifest;
    const epochs = await this.epochs(tree.entries, requireSecrets);
    const bodies = await this.#parts.thread.ask('bodies', { root: tree.root, release: number, version, epochs });
    const large = bodies.find(({ body }) => body.byteLength > 8 * 1024 ** 2);
    if (large !== undefined) throw new CodedError('TOO_LARGE', `the policy of entry ${large.entry} is larger than 8 MiB`);
    return liveRelease(stored, tree, epochs, bodies);
  }
}
