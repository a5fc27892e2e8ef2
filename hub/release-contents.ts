/** What spokes ask about releases: manifests as differences, and contents by hash. */
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../core/base/errors.ts';
import { manifestDelta } from '../core/config/manifest-delta.ts';
import type { Publisher } from '../server/publish/publisher.ts';
import type { StoredRelease } from '../server/publish/releases.ts';
import { FETCH_BYTES, OFFER_BYTES, type Offered, releaseFetch, releaseManifest } from '../server/spanner/kinds/releases.ts';
import { type Answer, answersWithData } from '../server/spanner/link.ts';

interface Opened {
  readonly release: StoredRelease;
  /** content → path of the first file that has it */
  readonly places: ReadonlyMap<string, string>;
}

/** The newest, the one before, and what a straggler asks for. */
const KEPT = 3;

export class ReleaseContents {
  readonly answers: readonly Answer[];
  readonly #publisher: Publisher;
  readonly #opened = new Map<number, Opened>();

  constructor(publisher: Publisher) {
    this.#publisher = publisher;
    this.answers = [
      answersWithData(releaseManifest, async ({ number, root, have }) => {
        const { manifest } = (await this.#open(number, root)).release;
        return { body: {}, data: Buffer.from(JSON.stringify(manifestDelta(await this.#base(have), manifest))) };
      }),
      answersWithData(releaseFetch, async ({ number, root, parts }) => ({
        body: {},
        data: await this.#parts(await this.#open(number, root), parts),
      })),
    ];
  }

  /** @param base root that the spoke is known to have */
  async offered(number: number, base: string | undefined): Promise<Offered> {
    const { release } = await this.#open(number);
    const { epoch, root } = release.manifest;
    const signature = await readFile(join(release.path, 'manifest.sig'), 'utf8');
    const known = base === undefined ? undefined : await this.#base([base]);
    const delta = known === undefined ? undefined : manifestDelta(known, release.manifest);
    const isSmall = delta !== undefined && Buffer.byteLength(JSON.stringify(delta)) <= OFFER_BYTES;
    return { epoch, number, root, signature, manifest: isSmall ? delta : null };
  }

  async #open(number: number, root?: string): Promise<Opened> {
    const known = this.#opened.get(number);
    const opened = known ?? (await this.#read(number));
    if (root !== undefined && opened.release.manifest.root !== root)
      throw new CodedError('NOT_FOUND', `release ${number} has another root here`);
    return opened;
  }

  async #read(number: number): Promise<Opened> {
    const { folder } = this.#publisher;
    const directory = await folder.byNumber(number);
    if (directory === undefined) throw new CodedError('NOT_FOUND', `release ${number} is not kept any more`);
    const release = await folder.open(directory);
    const opened = { release, places: new Map([...release.manifest.files].reverse().map(({ sha256, path }) => [sha256, path])) };
    this.#opened.set(number, opened);
    for (const oldest of [...this.#opened.keys()].slice(0, -KEPT)) this.#opened.delete(oldest);
    return opened;
  }

  /** The newest local release among these roots. */
  async #base(roots: readonly string[]): Promise<StoredRelease['manifest'] | undefined> {
    const { folder } = this.#publisher;
    for (const directory of await folder.list()) {
      const root = roots.find((each) => directory.name.endsWith(`-${each.slice(0, 12)}`));
      if (root === undefined) continue;
      const { manifest } = (await this.#open(directory.number)).release;
      if (manifest.root === root) return manifest;
    }
    return undefined;
  }

  async #parts(
    { release, places }: Opened,
    parts: readonly { readonly sha256: string; readonly offset: number; readonly length: number }[],
  ): Promise<Uint8Array> {
    const bytes = parts.reduce((sum, { length }) => sum + length, 0);
    if (bytes > FETCH_BYTES) throw new CodedError('TOO_LARGE', `at most ${FETCH_BYTES} bytes are sent at once`);
    const data = Buffer.alloc(bytes);
    let at = 0;
    for (const { sha256, offset, length } of parts) {
      const path = places.get(sha256);
      if (path === undefined) throw new CodedError('NOT_FOUND', `release ${release.number} has no content ${sha256}`);
      const handle = await open(join(release.path, 'tree', path), 'r');
      try {
        const { bytesRead } = await handle.read(data, at, length, offset);
        if (bytesRead !== length) throw new CodedError('RELEASE_INVALID', `"${path}" of release ${release.number} is shorter than it was`);
      } finally {
        await handle.close();
      }
      at += length;
    }
    return data;
  }
}
