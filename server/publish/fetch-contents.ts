/** Fetches the contents that no local release holds: several small files at once, big ones by pieces; every hash is checked; a cut costs what was under way. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';
import { syncPath } from './releases.ts';

export interface Content {
  readonly sha256: string;
  readonly size: number;
}

export interface Part {
  readonly sha256: string;
  readonly offset: number;
  readonly length: number;
}

export interface FetchOptions {
  /** the folder they are put into, by hash; what it holds already is kept */
  readonly folder: string;
  /** most bytes of one answer */
  readonly batchBytes: number;
  readonly signal: AbortSignal;
  /** the parts, one after the other */
  fetch(parts: readonly Part[]): Promise<Uint8Array>;
}

/** Answers at a time on the way. */
const PARALLEL = 4;
const BATCH_FILES = 1000;

function wrong({ sha256 }: Content): CodedError {
  return new CodedError('RELEASE_INVALID', `the hub sent other bytes than those of the hash ${sha256}`);
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function write(path: string, bytes: Uint8Array): Promise<void> {
  await rm(`${path}.new`, { force: true });
  const handle = await open(`${path}.new`, 'wx', 0o440);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${path}.new`, path);
}

/** Small contents share an answer, in the order given. */
function batches(contents: readonly Content[], most: number): Content[][] {
  const made: Content[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const content of contents) {
    if (bytes + content.size > most || made.at(-1)!.length >= BATCH_FILES) {
      made.push([]);
      bytes = 0;
    }
    made.at(-1)!.push(content);
    bytes += content.size;
  }
  return made;
}

class Fetching {
  readonly #options: FetchOptions;

  constructor(options: FetchOptions) {
    this.#options = options;
  }

  async #ask(parts: readonly Part[]): Promise<Uint8Array> {
    const { signal, fetch } = this.#options;
    signal.throwIfAborted();
    const bytes = await fetch(parts);
    const wanted = parts.reduce((sum, { length }) => sum + length, 0);
    if (bytes.byteLength !== wanted)
      throw new CodedError('RELEASE_INVALID', `the hub sent ${bytes.byteLength} bytes of a release, not ${wanted}`);
    return bytes;
  }

  async batch(contents: readonly Content[]): Promise<void> {
    const asked = contents.filter(({ size }) => size > 0);
    const bytes =
      asked.length === 0 ? new Uint8Array() : await this.#ask(asked.map(({ sha256, size }) => ({ sha256, offset: 0, length: size })));
    let at = 0;
    for (const content of contents) {
      const own = bytes.subarray(at, at + content.size);
      at += content.size;
      if (hashOf(own) !== content.sha256) throw wrong(content);
      await write(join(this.#options.folder, content.sha256), own);
    }
  }

  /** Goes on where an earlier attempt ended. */
  async big(content: Content): Promise<void> {
    const path = join(this.#options.folder, content.sha256);
    const part = `${path}.part`;
    const resumed = await this.#pieces(content, part);
    if (resumed > 0 && !(await this.#fits(content, part))) {
      // what was left behind was damaged: once more from the start
      await rm(part);
      await this.#pieces(content, part);
    }
    if (!(await this.#fits(content, part))) {
      await rm(part);
      throw wrong(content);
    }
    await rename(part, path);
  }

  /** Answers how many bytes were there before. */
  async #pieces({ sha256, size }: Content, part: string): Promise<number> {
    // an attempt that ended just before the rename left it read-only
    await chmod(part, 0o640).catch((thrown: NodeJS.ErrnoException) => {
      if (thrown.code !== 'ENOENT') throw thrown;
    });
    const handle = await open(part, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o640);
    try {
      let offset = (await handle.stat()).size;
      if (offset > size) {
        await handle.truncate();
        offset = 0;
      }
      const resumed = offset;
      while (offset < size) {
        const length = Math.min(this.#options.batchBytes, size - offset);
        await handle.write(await this.#ask([{ sha256, offset, length }]), 0, length, offset);
        offset += length;
      }
      await handle.chmod(0o440);
      await handle.sync();
      return resumed;
    } finally {
      await handle.close();
    }
  }

  async #fits({ sha256, size }: Content, part: string): Promise<boolean> {
    const handle = await open(part, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const hash = createHash('sha256');
      let bytes = 0;
      for await (const chunk of handle.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
        bytes += chunk.byteLength;
        hash.update(chunk);
      }
      return bytes === size && hash.digest('hex') === sha256;
    } finally {
      await handle.close();
    }
  }
}

/** @throws CodedError RELEASE_INVALID for a wrong hash; what `fetch` throws. What was whole by then stays for the next attempt. */
export async function fetchContents(contents: readonly Content[], options: FetchOptions): Promise<void> {
  const { folder, batchBytes } = options;
  await mkdir(folder, { recursive: true, mode: 0o750 });
  const held = new Set(await readdir(folder));
  const missing = contents.filter(({ sha256 }) => !held.has(sha256));
  const fetching = new Fetching(options);
  const work = [
    ...missing.filter(({ size }) => size > batchBytes).map((content) => () => fetching.big(content)),
    ...batches(
      missing.filter(({ size }) => size <= batchBytes),
      batchBytes,
    ).map((batch) => () => fetching.batch(batch)),
  ];
  const lane = async (): Promise<void> => {
    for (let next = work.shift(); next !== undefined; next = work.shift()) await next();
  };
  const failed = (
    await Promise.allSettled(
      Array.from({ length: PARALLEL }, () =>
        lane().catch((thrown: unknown) => {
          work.length = 0;
          throw thrown;
        }),
      ),
    )
  ).find((lane) => lane.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  if ((await stat(folder)).isDirectory()) await syncPath(folder);
}
