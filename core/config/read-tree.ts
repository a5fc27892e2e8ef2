/** Reads a directory into a source tree without following links; the only file of core/config that touches the disk. */
import { constants } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, messageOf } from '../base/errors.ts';
import type { Problem } from '../base/problem.ts';
import {
  compareBytes,
  hasForbiddenCharacter,
  isIgnoredName,
  isPublished,
  limitProblem,
  type SourceFile,
  type SourceTree,
  TREE_LIMITS,
} from './source.ts';

export interface ReadTree {
  readonly tree: SourceTree;
  readonly problems: readonly Problem[];
}

interface Walk {
  readonly root: string;
  readonly files: Map<string, SourceFile>;
  readonly problems: Problem[];
  bytes: number;
}

function treeProblem(rule: string, file: string, message: string): Problem {
  return { rule, severity: 'error', message, at: { file, line: 1, column: 1 } };
}

async function readOne(walk: Walk, path: string, published: string): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(join(walk.root, path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (thrown) {
    walk.problems.push(treeProblem('TREE-4', published, `"${published}" cannot be read: ${messageOf(thrown)}`));
    return;
  }
  try {
    const stat = await handle.stat();
    const limit = published.startsWith('templates/') ? TREE_LIMITS.templateBytes : TREE_LIMITS.vgoBytes;
    if (!stat.isFile()) walk.problems.push(treeProblem('TREE-4', published, `"${published}" is not a regular file`));
    else if (stat.size > limit) walk.problems.push(limitProblem(`"${published}" has ${stat.size} bytes, the limit is ${limit}`, published));
    else if (walk.bytes + stat.size > TREE_LIMITS.treeBytes) {
      walk.bytes = Number.POSITIVE_INFINITY;
    } else {
      const bytes = Buffer.alloc(stat.size);
      const { bytesRead } = await handle.read(bytes, 0, stat.size, 0);
      walk.bytes += bytesRead;
      walk.files.set(published, {
        path: published,
        bytes: bytes.subarray(0, bytesRead),
        mode: (stat.mode & 0o100) === 0 ? '0644' : '0755',
      });
    }
  } finally {
    await handle.close();
  }
}

async function walkDirectory(walk: Walk, directory: string, depth: number): Promise<void> {
  if (depth > TREE_LIMITS.depth) {
    walk.problems.push(limitProblem(`directory "${directory}" is deeper than ${TREE_LIMITS.depth} levels`, directory));
    return;
  }
  const names = await readdir(join(walk.root, directory), { withFileTypes: true });
  names.sort((a, b) => compareBytes(a.name, b.name));
  for (const item of names) {
    if (isIgnoredName(item.name)) continue;
    const path = directory === '' ? item.name : `${directory}/${item.name}`;
    const published = path.normalize('NFC');
    if (item.isDirectory()) {
      await walkDirectory(walk, path, depth + 1);
    } else if (!item.isFile()) {
      walk.problems.push(
        treeProblem('TREE-4', published, `"${published}" is a link, device, socket or pipe; only files and directories are allowed`),
      );
    } else if (isPublished(published)) {
      if (hasForbiddenCharacter(published)) {
        walk.problems.push(treeProblem('TREE-3', published, 'file name with a control character, backslash or bytes that are not UTF-8'));
      } else if (Buffer.byteLength(published) > TREE_LIMITS.pathBytes) {
        walk.problems.push(limitProblem(`path is longer than ${TREE_LIMITS.pathBytes} bytes`, published));
      } else if (walk.files.has(published)) {
        walk.problems.push(treeProblem('TREE-6', published, `two files are called "${published}" once their names are in NFC`));
      } else if (walk.files.size >= TREE_LIMITS.files) {
        walk.bytes = Number.POSITIVE_INFINITY;
      } else {
        await readOne(walk, path, published);
      }
      if (walk.bytes === Number.POSITIVE_INFINITY) return;
    }
  }
}

/** Reads all published files below `directory`; what may not be there becomes a problem, never a throw.
 * @throws CodedError NOT_FOUND when the directory itself cannot be listed */
export async function readTree(directory: string): Promise<ReadTree> {
  const walk: Walk = { root: directory, files: new Map(), problems: [], bytes: 0 };
  try {
    await readdir(directory);
  } catch (thrown) {
    throw new CodedError('NOT_FOUND', `configuration directory "${directory}" cannot be read`, { cause: thrown });
  }
  await walkDirectory(walk, '', 0);
  if (walk.bytes === Number.POSITIVE_INFINITY)
    walk.problems.push(limitProblem(`the tree has more than ${TREE_LIMITS.files} files or ${TREE_LIMITS.treeBytes} bytes`));
  return { tree: walk.files, problems: walk.problems };
}
