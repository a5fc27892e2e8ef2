/** A spoke takes a release of its hub (config.md §11.4): signature, order, limits and paths first, then only the contents it lacks, then as a publish of its own. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Manifest, ManifestFile } from '../../core/config/manifest.ts';
import { applyManifestDelta, type ManifestDelta } from '../../core/config/manifest-delta.ts';
import { faultOfManifest } from '../../core/config/manifest-safety.ts';
import type { Store } from '../store/store.ts';
import { type Content, fetchContents, type Part } from './fetch-contents.ts';
import type { LiveRelease } from './live-release.ts';
import { openManifest, type ReleaseAuthority } from './manifest-signature.ts';
import type { Publisher } from './publisher.ts';
import type { StoredRelease } from './releases.ts';

/** What the hub says first. */
export interface OfferedRelease {
  readonly epoch: number;
  readonly number: number;
  readonly root: string;
  readonly signature: string;
  readonly manifest: ManifestDelta | null;
}

/** What the hub is asked. */
export interface ReleaseSource {
  /** of these roots at most one is the base of the answer */
  manifest(have: readonly string[]): Promise<ManifestDelta>;
  fetch(parts: readonly Part[]): Promise<Uint8Array>;
}

export interface ReceiverParts {
  readonly publisher: Publisher;
  readonly authority: Pick<ReleaseAuthority, 'fleetId' | 'rootPublicKey'>;
  /** delegations that no longer count */
  revokedSerials(): ReadonlySet<string>;
  readonly store: Pick<Store, 'releases' | 'counters'>;
  readonly temp: string;
  readonly batchBytes: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** all contents are here, nothing is written yet */
  onFetched?(): void;
}

const WORK = 'receive-';
/** Releases whose manifests are looked at for contents and for a base. */
const LOCAL_RELEASES = 20;

export type Standing = 'newer' | 'same' | 'damaged' | 'older' | 'conflict';

export class ReleaseReceiver {
  readonly #parts: ReceiverParts;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
  }

  /** Where an offer stands against the highest (epoch, number) ever live here. */
  async standing(offer: Pick<OfferedRelease, 'epoch' | 'number' | 'root'>): Promise<Standing> {
    const { store, publisher } = this.#parts;
    const own = (await store.releases.list(1))[0];
    if (own === undefined) return 'newer';
    const epoch = await store.counters.get('release_epoch');
    if (offer.number === own.number) {
      if (offer.root !== own.root) return 'conflict';
      return publisher.live?.number === own.number && publisher.lastError === undefined ? 'same' : 'damaged';
    }
    if (offer.number > own.number) return offer.epoch < epoch ? 'older' : 'newer';
    // agents refuse a release number that falls, whatever the epoch of the hub
    return 'older';
  }

  /** @throws CodedError RELEASE_INVALID, SECRET_MISSING, TOO_LARGE (refused for good or until something changes), or what the link or the disk throws */
  async receive(offer: OfferedRelease, source: ReleaseSource, signal: AbortSignal): Promise<LiveRelease> {
    const { publisher, temp, batchBytes } = this.#parts;
    const local = await this.#local();
    const manifest = await this.#manifest(offer, source, local);
    const folder = join(temp, `${WORK}${manifest.root.slice(0, 16)}`);
    await this.#removeOthers(folder);
    const wanted = distinct(manifest.files);
    const found = await publisher.thread.ask('locate', { wanted: placed(wanted, local) });
    await fetchContents(
      wanted.filter(({ sha256 }) => !found.has(sha256)),
      { folder, batchBytes, signal, fetch: (parts) => source.fetch(parts) },
    );
    this.#parts.onFetched?.();
    signal.throwIfAborted();
    const sources = ({ sha256 }: ManifestFile) => {
      const path = found.get(sha256) ?? join(folder, sha256);
      return { link: path, copy: path };
    };
    try {
      const release = await publisher.take({ manifest, signature: offer.signature, sources });
      await rm(folder, { recursive: true, force: true });
      return release;
    } catch (thrown) {
      // contents that do not make the release are not kept for the next attempt
      if (thrown instanceof CodedError && thrown.code === 'RELEASE_INVALID') await rm(folder, { recursive: true, force: true });
      throw thrown;
    }
  }

  /** Those of the newest local releases whose manifest is good. */
  async #local(): Promise<readonly StoredRelease[]> {
    const { folder } = this.#parts.publisher;
    const good: StoredRelease[] = [];
    for (const directory of (await folder.list()).slice(0, LOCAL_RELEASES)) {
      try {
        good.push(await folder.open(directory));
      } catch (thrown) {
        this.#parts.log.warn('a local release has no good manifest', { release: directory.number, error: String(thrown) });
      }
    }
    return good;
  }

  async #manifest(offer: OfferedRelease, source: ReleaseSource, local: readonly StoredRelease[]): Promise<Manifest> {
    const offered = offer.manifest === null ? undefined : this.#rebuilt(offer, offer.manifest, local);
    const manifest =
      offered ??
      this.#rebuilt(offer, await source.manifest(local.map(({ manifest: { root } }) => root)), local) ??
      this.#rebuilt(offer, await source.manifest([]), local);
    if (manifest === undefined) throw new CodedError('RELEASE_INVALID', 'the hub sent the manifest of another release');
    const { authority, revokedSerials } = this.#parts;
    openManifest(authority, JSON.stringify(manifest), offer.signature, revokedSerials());
    const fault = faultOfManifest(manifest);
    if (fault !== undefined) throw new CodedError('RELEASE_INVALID', `the release cannot be taken: ${fault}`);
    return manifest;
  }

  /** undefined: the difference stands on a manifest that is not here, or does not make the release that was offered */
  #rebuilt(offer: OfferedRelease, delta: ManifestDelta, local: readonly StoredRelease[]): Manifest | undefined {
    const base = local.find(({ manifest }) => manifest.root === delta.base)?.manifest;
    if (delta.base !== null && base === undefined) return undefined;
    const manifest = applyManifestDelta(base, delta);
    const { epoch, number, root } = manifest;
    if (epoch !== offer.epoch || number !== offer.number || root !== offer.root) return undefined;
    // a difference that does not fit is asked for whole; a whole one is what it is
    return delta.base !== null && faultOfManifest(manifest) !== undefined ? undefined : manifest;
  }

  async #removeOthers(folder: string): Promise<void> {
    const { temp } = this.#parts;
    await mkdir(temp, { recursive: true, mode: 0o750 });
    for (const name of await readdir(temp))
      if (name.startsWith(WORK) && join(temp, name) !== folder) await rm(join(temp, name), { recursive: true, force: true });
  }
}

function distinct(files: readonly ManifestFile[]): readonly Content[] {
  return [...new Map(files.map(({ sha256, size }) => [sha256, { sha256, size }])).values()];
}

function placed(wanted: readonly Content[], local: readonly StoredRelease[]): (Content & { readonly places: readonly string[] })[] {
  const places = new Map(wanted.map(({ sha256 }) => [sha256, [] as string[]]));
  for (const { path, manifest } of local)
    for (const file of manifest.files) {
      const known = places.get(file.sha256);
      if (known !== undefined && known.length < 3) known.push(join(path, 'tree', file.path));
    }
  return wanted.map((content) => ({ ...content, places: places.get(content.sha256)! })).filter(({ places: at }) => at.length > 0);
}
