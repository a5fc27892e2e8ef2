/** What files held before a run changed or deleted them: blobs by hash, and one index a path, newest last (config.md §15.4). */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import type { System } from '../system/system.ts';

const MAX_BYTES = 10 * 1024 * 1024;
const MIN_FREE = 0.05;
const MODE = { mode: 0o600 };

const entrySchema = z.object({
  time: z.number(),
  run: z.string(),
  module: z.string(),
  resource: z.string(),
  action: z.enum(['updated', 'deleted', 'restored']),
  size: z.number(),
  /** undefined: not kept, `reason` says why */
  sha256: z.string().optional(),
  reason: z.enum(['too_large', 'not_regular', 'sensitive', 'disk_full']).optional(),
  mode: z.number(),
  owner: z.string(),
  group: z.string(),
  modified_at: z.number(),
  secontext: z.string().optional(),
});
export type SnapshotEntry = z.output<typeof entrySchema>;
const indexSchema = z.object({ path: z.string(), entries: z.array(entrySchema) });
type Index = z.output<typeof indexSchema>;

export interface SnapshotOrigin {
  readonly run: string;
  readonly module: string;
  readonly resource: string;
  readonly action: SnapshotEntry['action'];
  readonly sensitive: boolean;
}

export interface ListedSnapshot extends SnapshotEntry {
  readonly path: string;
  /** 1 = newest */
  readonly n: number;
}

const hashOf = (data: Buffer | string) => createHash('sha256').update(data).digest('hex');

export class SnapshotStore {
  readonly #system: System;
  readonly #folder: string;
  readonly #retention: number;

  constructor(system: System, options: { readonly folder: string; readonly retention: number }) {
    this.#system = system;
    this.#folder = options.folder;
    this.#retention = options.retention;
  }

  /** Keeps what is at the path now; nothing there is nothing to keep. */
  async keep(path: string, origin: SnapshotOrigin): Promise<void> {
    const { sensitive, ...rest } = origin;
    const stat = await this.#system.stat(path);
    if (stat === undefined || this.#retention === 0) return;
    const entry: SnapshotEntry = {
      ...rest,
      time: this.#system.now(),
      size: stat.size,
      mode: stat.mode,
      owner: stat.owner,
      group: stat.group,
      modified_at: stat.modifiedAt,
    };
    await this.#system.makeDirectory(this.#folder, { mode: 0o700 });
    const reason = sensitive ? 'sensitive' : stat.kind !== 'file' ? 'not_regular' : await this.#whyNot(stat.size);
    if (reason !== undefined) return await this.#append(path, { ...entry, reason });
    const data = (await this.#system.readFile(path)) ?? Buffer.alloc(0);
    const sha256 = hashOf(data);
    const index = await this.#index(path);
    const newest = index?.entries.at(-1);
    if (newest?.sha256 === sha256 && newest.mode === stat.mode && newest.owner === stat.owner && newest.group === stat.group) return;
    await this.#system.makeDirectory(join(this.#folder, 'blobs'), { mode: 0o700 });
    if ((await this.#system.stat(this.#blob(sha256))) === undefined) await this.#system.writeFile(this.#blob(sha256), data, MODE);
    const secontext = await this.#label(path);
    await this.#append(path, { ...entry, sha256, ...(secontext === undefined ? {} : { secontext }) });
  }

  /** Newest first, all paths or one. */
  async list(path?: string): Promise<readonly ListedSnapshot[]> {
    const indexes = path === undefined ? await this.#indexes() : [await this.#index(path)];
    return indexes
      .flatMap((index) => (index === undefined ? [] : numbered(index)))
      .sort((a, b) => (a.path === b.path ? a.n - b.n : a.path < b.path ? -1 : 1));
  }

  /** @param n 1 = newest. @throws CodedError BAD_REQUEST */
  async read(path: string, n: number): Promise<{ readonly entry: ListedSnapshot; readonly data: Buffer }> {
    const entry = (await this.list(path)).find((one) => one.n === n);
    if (entry === undefined) throw new CodedError('BAD_REQUEST', `there is no snapshot ${n} of ${path}`);
    if (entry.sha256 === undefined)
      throw new CodedError('BAD_REQUEST', `the content of snapshot ${n} of ${path} was not kept: ${entry.reason}`);
    const data = await this.#system.readFile(this.#blob(entry.sha256));
    if (data === undefined || hashOf(data) !== entry.sha256)
      throw new CodedError('STATE_DAMAGED', `the content of snapshot ${n} of ${path} is damaged`);
    return { entry, data };
  }

  /** Puts a snapshot back; what is there now is kept first. */
  async restore(path: string, n: number, run: string): Promise<ListedSnapshot> {
    const { entry, data } = await this.read(path, n);
    const { module, resource } = entry;
    await this.keep(path, { run, module, resource, action: 'restored', sensitive: false });
    await this.#system.writeFile(path, data, { mode: entry.mode, owner: entry.owner, group: entry.group });
    if (entry.secontext !== undefined) await this.#system.run(['chcon', '--', entry.secontext, path], { okCodes: 'any' });
    return entry;
  }

  async #whyNot(size: number): Promise<SnapshotEntry['reason']> {
    if (size > MAX_BYTES) return 'too_large';
    const { free, total } = await this.#system.space(this.#folder);
    return total > 0 && free / total < MIN_FREE ? 'disk_full' : undefined;
  }

  async #append(path: string, entry: SnapshotEntry): Promise<void> {
    const before = (await this.#index(path))?.entries ?? [];
    const entries = [...before, entry].slice(-this.#retention);
    await this.#system.makeDirectory(join(this.#folder, 'index'), { mode: 0o700 });
    await this.#system.writeFile(this.#indexFile(path), JSON.stringify({ path, entries } satisfies Index), MODE);
    if (before.length >= this.#retention) await this.#sweep();
  }

  /** Removes blobs that no index names any more. */
  async #sweep(): Promise<void> {
    const used = new Set((await this.#indexes()).flatMap(({ entries }) => entries.map(({ sha256 }) => sha256)));
    for (const name of await this.#system.list(join(this.#folder, 'blobs')))
      if (!used.has(name)) await this.#system.remove(this.#blob(name));
  }

  async #index(path: string): Promise<Index | undefined> {
    return this.#parse(await this.#system.readFile(this.#indexFile(path)));
  }

  async #indexes(): Promise<readonly Index[]> {
    const found: Index[] = [];
    for (const name of await this.#system.list(join(this.#folder, 'index'))) {
      const index = this.#parse(await this.#system.readFile(join(this.#folder, 'index', name)));
      if (index !== undefined) found.push(index);
    }
    return found;
  }

  /** A damaged index is one that is not there: it can only have been cut by the disk, since writes are whole. */
  #parse(data: Buffer | undefined): Index | undefined {
    if (data === undefined) return undefined;
    try {
      return indexSchema.parse(JSON.parse(data.toString('utf8')));
    } catch {
      // see above
      return undefined;
    }
  }

  async #label(path: string): Promise<string | undefined> {
    if ((await this.#system.stat('/sys/fs/selinux/enforce')) === undefined) return undefined;
    const { code, stdout } = await this.#system.run(['stat', '-c', '%C', '--', path], { okCodes: 'any' });
    return code === 0 ? stdout.trim() : undefined;
  }

  #blob(sha256: string): string {
    return join(this.#folder, 'blobs', sha256);
  }

  #indexFile(path: string): string {
    return join(this.#folder, 'index', `${hashOf(path)}.json`);
  }
}

function numbered({ path, entries }: Index): ListedSnapshot[] {
  return entries.map((entry, index) => ({ ...entry, path, n: entries.length - index }));
}
