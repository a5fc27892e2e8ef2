/** Keeps a directory, and what is below it when asked. */
import { join } from 'node:path';
import type { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { directory as spec } from '../../core/resources/directory.ts';
import { type Change, defineExecutor, type ExecutorContext } from './executor.ts';
import { driftedAttributes, ownershipChanges, writeAttributes } from './ownership.ts';

type Want = z.output<typeof spec.attributes>;

interface Drifted {
  readonly path: string;
  readonly changes: readonly Change[];
}

export const directory = defineExecutor(spec, {
  async check(want, context) {
    const { system } = context;
    const stat = await system.stat(want.target_path);
    if (want.state === 'absent') {
      if (stat === undefined) return [];
      if (stat.kind !== 'directory') throw new CodedError('BLOCKED', `${want.target_path} is a ${stat.kind}, not a directory`);
      return [{ attribute: 'exists', from: true, to: false }];
    }
    if (stat === undefined) return [{ attribute: 'exists', from: false, to: true }];
    // a link such as /var/run is somebody's layout: replacing it by a directory would split the tree in two
    if (stat.kind === 'symlink') throw new CodedError('BLOCKED', `${want.target_path} is a symbolic link`);
    if (stat.kind !== 'directory') return [{ attribute: 'kind', from: stat.kind, to: 'directory' }];
    const changes = await ownershipChanges(want, stat, context);
    const below = want.recurse ? await driftedBelow(want, context) : [];
    if (below.length > 0) {
      const attributes = [...new Set(below.flatMap((entry) => entry.changes.map(({ attribute }) => attribute)))].sort();
      changes.push({ attribute: 'below', from: `${below.length} entries differ in ${attributes.join(', ')}`, to: 'as wanted' });
    }
    return changes;
  },

  async apply(want, changes, context) {
    const { system } = context;
    if (want.state === 'absent') {
      if (want.target_path.replace(/\/+$/, '') === '') throw new CodedError('GUARDRAIL', 'the root directory is never removed');
      return await system.remove(want.target_path);
    }
    if (changes.some(({ attribute }) => attribute === 'kind')) {
      await context.snapshot(want.target_path, 'deleted');
      await system.remove(want.target_path);
    }
    if (changes.some(({ attribute }) => attribute === 'kind' || attribute === 'exists'))
      await system.makeDirectory(want.target_path, writeAttributes(want));
    else await system.setAttributes(want.target_path, driftedAttributes(want, changes));
    if (!want.recurse) return;
    for (const entry of await driftedBelow(want, context)) await system.setAttributes(entry.path, driftedAttributes(want, entry.changes));
  },
});

async function driftedBelow(want: Want, context: ExecutorContext): Promise<Drifted[]> {
  const found: Drifted[] = [];
  const folders = [want.target_path];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const name of await context.system.list(folder)) {
      context.signal.throwIfAborted();
      const path = join(folder, name);
      const stat = await context.system.stat(path);
      if (stat === undefined) continue;
      const changes = await ownershipChanges(want, stat, context);
      if (changes.length > 0) found.push({ path, changes });
      if (stat.kind === 'directory') folders.push(path);
    }
  }
  return found;
}
