/** `file_exists` and `dir_exists`: what stands at a path, links followed. */
import { checkEach, isAbsolutePath, type WhenBuiltin } from './builtin.ts';

function exists(name: string, kind: 'file' | 'directory', doc: string): WhenBuiltin {
  return {
    name,
    side: 'agent',
    live: true,
    arity: [1, 1],
    usage: `${name}('/etc/x')`,
    doc,
    check: checkEach((path) => (isAbsolutePath(path) ? undefined : `"${path}" is not an absolute path`)),
    evaluate: async ([path], { probe }) => (await probe.fileKind(path!)) === kind,
  };
}

export const FILE_EXISTS = exists('file_exists', 'file', 'a regular file is there');
export const DIR_EXISTS = exists('dir_exists', 'directory', 'a directory is there');
