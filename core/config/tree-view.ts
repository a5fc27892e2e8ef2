/** `config tree`: directories with their markers, entries with their ordinals (config.md §19). */
import { entryFor } from './match.ts';
import { type ConfigSnapshot, directoryChain } from './snapshot.ts';
import { compareBytes } from './source.ts';

export interface TreeEntryRow {
  readonly id: string;
  readonly line: number;
  /** place in matching order, from 1 */
  readonly ordinal: number;
  readonly patterns: readonly string[];
  readonly environment: string | null;
  /** hosts of the given list that get this entry */
  readonly envoys: number;
}

export interface TreeDirectoryRow {
  readonly dir: string;
  /** of `C` common, `E` environments, `W` waivers */
  readonly markers: string;
  readonly entries: readonly TreeEntryRow[];
}

export interface TreeViewQuery {
  readonly directory?: string | undefined;
  readonly depth?: number | undefined;
  readonly hostnames?: readonly string[] | undefined;
}

/** Directories in byte order, each with its entries in matching order. */
export function treeView(config: ConfigSnapshot, query: TreeViewQuery = {}): readonly TreeDirectoryRow[] {
  const counts = new Map<string, number>();
  for (const hostname of query.hostnames ?? []) {
    const entry = entryFor(config, hostname);
    if (entry !== undefined) counts.set(entry.id, (counts.get(entry.id) ?? 0) + 1);
  }
  const rows = new Map<string, TreeEntryRow[]>();
  for (const path of config.directories.keys())
    for (const dir of [...directoryChain(`${path}/x`).filter((each) => path !== '' || each === '')]) rows.set(dir, []);
  for (const entry of config.entries) for (const dir of directoryChain(entry.file)) if (!rows.has(dir)) rows.set(dir, []);
  for (const entry of config.entries)
    rows.get(directoryChain(entry.file).at(-1)!)!.push({
      id: entry.id,
      line: entry.at.line,
      ordinal: entry.ordinal + 1,
      patterns: entry.patterns.map(({ value }) => value),
      environment: entry.environment?.name ?? null,
      envoys: counts.get(entry.id) ?? 0,
    });
  const root = query.directory?.replace(/\/$/, '') ?? '';
  const depthOf = (dir: string) => (dir === root ? 0 : dir.slice(root === '' ? 0 : root.length + 1).split('/').length);
  return [...rows]
    .filter(([dir]) => root === '' || dir === root || dir.startsWith(`${root}/`))
    .filter(([dir]) => query.depth === undefined || depthOf(dir) <= query.depth)
    .sort(([a], [b]) => compareBytes(a, b))
    .map(([dir, entries]) => {
      const directory = config.directories.get(dir);
      const markers = `${directory?.common === undefined ? '' : 'C'}${directory !== undefined && directory.environments.size > 0 ? 'E' : ''}${directory !== undefined && directory.waivers.length > 0 ? 'W' : ''}`;
      return { dir, markers, entries };
    });
}
