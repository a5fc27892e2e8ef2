/** Limits of the resource that is being worked on, put on every command that is run for it, however deep it is called. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { RunOptions, System } from './system.ts';

export interface Limits {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly nice?: number | undefined;
}

const current = new AsyncLocalStorage<Limits>();

/** Everything started within `work` through a {@link limitSystem | limited} system has these limits. */
export function withLimits<T>(limits: Limits, work: () => Promise<T>): Promise<T> {
  return current.run(limits, work);
}

function limited(options: RunOptions | undefined): RunOptions {
  const limits = current.getStore();
  if (limits === undefined) return options ?? {};
  const nice = limits.nice ?? options?.nice;
  return {
    timeoutMs: limits.timeoutMs,
    ...options,
    signal: options?.signal === undefined ? limits.signal : AbortSignal.any([options.signal, limits.signal]),
    ...(nice === undefined ? {} : { nice }),
  };
}

/** What was started and left outlives its resource, so only the priority goes along. */
function priorityOnly(options: RunOptions | undefined): RunOptions {
  const nice = current.getStore()?.nice;
  return nice === undefined ? (options ?? {}) : { ...options, nice };
}

export function limitSystem(system: System): System {
  return {
    family: system.family,
    run: (argv, options) => system.run(argv, limited(options)),
    start: (argv, options) => system.start(argv, priorityOnly(options)),
    hasCommand: (name) => system.hasCommand(name),
    privateFolder: () => system.privateFolder(),
    now: () => system.now(),
    stat: (path) => system.stat(path),
    readFile: (path) => system.readFile(path),
    writeFile: (path, data, attributes) => system.writeFile(path, data, attributes),
    setAttributes: (path, attributes) => system.setAttributes(path, attributes),
    makeDirectory: (path, attributes) => system.makeDirectory(path, attributes),
    readLink: (path) => system.readLink(path),
    makeLink: (path, to, kind) => system.makeLink(path, to, kind),
    list: (path) => system.list(path),
    remove: (path) => system.remove(path),
    realPath: (path) => system.realPath(path),
    space: (path) => system.space(path),
  };
}
