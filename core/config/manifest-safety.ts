/** May the files of a manifest that came from elsewhere be written here? Asked before a single byte of them is fetched. */
import { type Manifest, rootHash } from './manifest.ts';
import { compareBytes, hasForbiddenCharacter, isPublished, TREE_LIMITS } from './source.ts';

function faultOfPath(path: string): string | undefined {
  const shown = JSON.stringify(path.slice(0, 200));
  const names = path.split('/');
  if (hasForbiddenCharacter(path)) return `the path ${shown} has a forbidden character`;
  if (path.startsWith('/') || names.some((name) => name === '' || name === '.' || name === '..'))
    return `the path ${shown} does not lie inside the tree`;
  if (path.normalize('NFC') !== path) return `the path ${shown} is not in NFC`;
  if (Buffer.byteLength(path) > TREE_LIMITS.pathBytes) return `a path is longer than ${TREE_LIMITS.pathBytes} bytes`;
  if (names.length - 1 > TREE_LIMITS.depth) return `the path ${shown} is deeper than ${TREE_LIMITS.depth} levels`;
  return isPublished(path) ? undefined : `the file ${shown} does not belong into a release`;
}

/** Why it may not, in one sentence. */
export function faultOfManifest(manifest: Pick<Manifest, 'files' | 'root'>): string | undefined {
  const { files } = manifest;
  if (files.length > TREE_LIMITS.files) return `more than ${TREE_LIMITS.files} files`;
  const directories = new Set<string>();
  let bytes = 0;
  let before: string | undefined;
  for (const { path, size } of files) {
    const fault = faultOfPath(path);
    if (fault !== undefined) return fault;
    if (before !== undefined && compareBytes(before, path) >= 0) return `the path ${JSON.stringify(path)} is there twice or out of order`;
    before = path;
    const limit = path.startsWith('templates/') ? TREE_LIMITS.templateBytes : TREE_LIMITS.vgoBytes;
    if (size > limit) return `"${path}" has ${size} bytes, the limit is ${limit}`;
    bytes += size;
    if (bytes > TREE_LIMITS.treeBytes) return `the tree is larger than ${TREE_LIMITS.treeBytes} bytes`;
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) directories.add(path.slice(0, end));
  }
  const both = files.find(({ path }) => directories.has(path));
  if (both !== undefined) return `"${both.path}" is a file and a directory`;
  return rootHash(files) === manifest.root ? undefined : 'its root hash is not that of its files';
}
