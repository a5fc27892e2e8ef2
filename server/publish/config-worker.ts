/** The publishing thread: reading, hashing, compiling and tracing trees, away from the threads that answer agents. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parentPort } from 'node:worker_threads';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import type { Problem } from '../../core/base/problem.ts';
import { bodyBytes, type CompiledEntry } from '../../core/config/compile.ts';
import { loadTree } from '../../core/config/load.ts';
import { buildManifest, rootHash } from '../../core/config/manifest.ts';
import { readTree } from '../../core/config/read-tree.ts';
import type { ConfigSnapshot } from '../../core/config/snapshot.ts';
import type { SourceTree } from '../../core/config/source.ts';
import { traceHost, traceModule } from '../../core/config/trace.ts';
import { treeView } from '../../core/config/tree-view.ts';
import { validateTree } from '../../core/config/validate.ts';
import { compareImpact } from './impact.ts';
import type { Operations, Request, Response, TreePlace } from './messages.ts';
import { copyTree } from './stage.ts';

interface Known {
  readonly config: ConfigSnapshot;
  readonly compiled: readonly CompiledEntry[];
}

/** Stage, live, and the two before: what a publish and a rollback look at. */
const KEPT = 4;
const known = new Map<string, Known>();

function remember(root: string, value: Known): void {
  known.delete(root);
  known.set(root, value);
  for (const oldest of known.keys()) {
    if (known.size <= KEPT) break;
    known.delete(oldest);
  }
}

async function read({ directory, manifest }: TreePlace): Promise<{ tree: SourceTree; problems: readonly Problem[] }> {
  const { tree, problems } = await readTree(directory);
  if (manifest === undefined) return { tree, problems };
  const modes = new Map(manifest.files.map(({ path, mode }) => [path, mode]));
  return { tree: new Map([...tree].map(([path, file]) => [path, { ...file, mode: modes.get(path) ?? file.mode }])), problems };
}

async function configOf(place: TreePlace): Promise<ConfigSnapshot> {
  const kept = place.manifest === undefined ? undefined : known.get(place.manifest.root);
  return kept?.config ?? loadTree((await read(place)).tree).config;
}

/** What cannot be read does not hold it. */
async function holds(path: string, sha256: string, size: number): Promise<boolean> {
  try {
    const bytes = await readFile(path);
    return bytes.byteLength === size && createHash('sha256').update(bytes).digest('hex') === sha256;
  } catch {
    return false;
  }
}

const operations: { readonly [N in keyof Operations]: (ask: Operations[N]['ask']) => Promise<Operations[N]['answer']> } = {
  stage: ({ from, to }) => copyTree(from, to),
  rootOf: async ({ directory }) => rootHash(buildManifest((await readTree(directory)).tree)),
  async compile({ today, protectedSet, ...place }) {
    const { tree, problems } = await read(place);
    const files = buildManifest(tree);
    const validated = await validateTree(tree, { today, protectedSet });
    const root = rootHash(files);
    remember(root, validated);
    return {
      root,
      files,
      problems: [...problems, ...validated.problems],
      entries: validated.compiled.map(({ entry, body, policyHash, observeOnly }) => ({
        id: entry.id,
        ordinal: entry.ordinal,
        patterns: entry.patterns.map(({ value }) => ({ value })),
        file: entry.file,
        line: entry.at.line,
        environment: body.environment,
        policyHash,
        observe: observeOnly,
        moduleCount: body.module_count,
        secretRefs: body.secret_refs,
      })),
    };
  },
  async bodies({ root, release, version, epochs }) {
    const tree = known.get(root);
    if (tree === undefined) throw new CodedError('INTERNAL', 'the tree of these bodies is no longer in memory');
    return tree.compiled.map((compiled) => {
      const body = bodyBytes(compiled, { release, version, secretsEpoch: epochs[compiled.entry.id] ?? 0 });
      return { entry: compiled.entry.id, body, bodySha256: createHash('sha256').update(body).digest('hex') };
    });
  },
  async impact({ before, after, hostnames }) {
    const now = known.get(after);
    if (now === undefined) throw new CodedError('INTERNAL', 'the tree to compare is no longer in memory');
    return compareImpact(before === undefined ? undefined : known.get(before), now, hostnames);
  },
  trace: async ({ host, query, ...place }) => traceHost(await configOf(place), host, query),
  async traceModule({ module, ...place }) {
    const config = await configOf(place);
    return config.modules.has(module) ? traceModule(config, module) : undefined;
  },
  tree: async ({ query, ...place }) => treeView(await configOf(place), query),
  async verifyFiles({ directory, manifest }) {
    const { tree, problems } = await read({ directory, manifest });
    const faults = problems.map(({ message }) => message);
    const found = buildManifest(tree);
    const hashes = new Map(found.map(({ path, sha256 }) => [path, sha256]));
    for (const { path, sha256 } of manifest.files) {
      const hash = hashes.get(path);
      if (hash !== sha256) faults.push(hash === undefined ? `"${path}" is missing` : `"${path}" was changed`);
      hashes.delete(path);
    }
    for (const path of hashes.keys()) faults.push(`"${path}" does not belong to the release`);
    if (faults.length === 0 && rootHash(found) !== manifest.root) faults.push('the root hash differs');
    return faults;
  },
  async locate({ wanted }) {
    const found = new Map<string, string>();
    for (const { sha256, size, places } of wanted)
      for (const place of places)
        if (await holds(place, sha256, size)) {
          found.set(sha256, place);
          break;
        }
    return found;
  },
};

async function answer(request: Request): Promise<Response> {
  try {
    const run = operations[request.name] as (ask: unknown) => Promise<unknown>;
    return { id: request.id, answer: await run(request.ask) };
  } catch (thrown) {
    const errno = thrown instanceof Error && 'code' in thrown && !(thrown instanceof CodedError) ? String(thrown.code) : undefined;
    return { id: request.id, failure: { code: thrown instanceof CodedError ? thrown.code : undefined, message: messageOf(thrown), errno } };
  }
}

// one request at a time: trees are large, and answers keep the order of the questions
let queue: Promise<void> = Promise.resolve();
parentPort?.on('message', (request: Request) => {
  queue = queue.then(async () => parentPort?.postMessage(await answer(request)));
});
