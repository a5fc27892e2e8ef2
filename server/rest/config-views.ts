/** What the API shows of configuration, read from the stage and from releases on disk; publishing itself is server/publish's. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import type { configTree, Finding, traceConfig } from '../../core/api/config.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { Json } from '../../core/base/json.ts';
import type { Problem } from '../../core/base/problem.ts';
import { type CompiledEntry, compileEntry } from '../../core/config/compile.ts';
import { loadTree } from '../../core/config/load.ts';
import { rootOfTree } from '../../core/config/manifest.ts';
import { type ReadTree, readTree } from '../../core/config/read-tree.ts';
import type { ConfigSnapshot } from '../../core/config/snapshot.ts';
import type { SourceTree } from '../../core/config/source.ts';
import { type HostTrace, traceHost, traceModule } from '../../core/config/trace.ts';
import { treeView } from '../../core/config/tree-view.ts';
import { validateTree } from '../../core/config/validate.ts';
import type { ServerParts } from '../parts.ts';
import type { ConfigPort } from './parts.ts';

interface View {
  readonly config: ConfigSnapshot;
  readonly tree: SourceTree;
  readonly release: number;
  readonly version: string;
  readonly source: 'live' | 'stage' | 'release';
}

type Which = { readonly stage?: boolean | undefined; readonly release?: number | undefined };

/** The section of `trace` a flag names, and the members of the answer it stands for. */
const SECTIONS: Readonly<Record<string, readonly (keyof HostTrace)[]>> = {
  path: ['path'],
  module: ['modules'],
  variable: ['variables'],
  dependency: ['dependencies', 'order'],
  conditional: ['conditions'],
  compliance: ['compliance'],
  waiver: ['waivers'],
};

/** The directory of a release by its number, whatever its hash. */
async function releaseDirectory(releases: string, number: number): Promise<string | undefined> {
  const prefix = `${String(number).padStart(6, '0')}-`;
  const names = await readdir(releases).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const name = names.find((each) => each.startsWith(prefix));
  return name === undefined ? undefined : join(releases, name);
}

function findingOf({ rule, severity, message, hint, at, module, resource, entry }: Problem): Finding {
  return { rule, severity, message, hint, at, module, resource, entry };
}

export class ConfigViews {
  readonly #server: ServerParts;
  /** the last view of a release: releases never change */
  #kept: { readonly directory: string; readonly view: View } | undefined;

  constructor(server: ServerParts) {
    this.#server = server;
  }

  async #release(directory: string, release: number, version: string, source: View['source']): Promise<View> {
    if (this.#kept?.directory === directory) return { ...this.#kept.view, release, version, source };
    const { tree } = await readTree(join(directory, 'tree'));
    const view: View = { config: loadTree(tree).config, tree, release, version, source };
    this.#kept = { directory, view };
    return view;
  }

  async #view({ stage, release }: Which): Promise<View> {
    const { paths, releases, store } = this.#server;
    const { live } = releases;
    if (stage === true) {
      const { tree } = await readTree(paths.stage);
      return { config: loadTree(tree).config, tree, release: live?.number ?? 0, version: live?.version ?? '', source: 'stage' };
    }
    const number = release ?? live?.number;
    if (number === undefined) throw new CodedError('NOT_READY', 'no release is live', { hint: 'look at the stage with --stage' });
    const directory = await releaseDirectory(paths.releases, number);
    if (directory === undefined) throw new CodedError('NOT_FOUND', `there is no release ${number}`);
    const row = await store.releases.byNumber(number);
    return await this.#release(directory, number, row?.version ?? '', number === live?.number ? 'live' : 'release');
  }

  async tree(query: z.output<typeof configTree.query>): Promise<z.input<typeof configTree.reply>> {
    const { fleet } = this.#server;
    const { config } = await this.#view(query);
    const hostnames = [...fleet.slots()].filter((slot) => fleet.view(slot).active).map((slot) => fleet.hostname(slot));
    const directories = treeView(config, { directory: query.dir, hostnames }).map(({ dir, markers, entries }) => ({
      path: dir,
      marks: markers,
      entries: entries.map(({ id, line, ordinal, patterns, environment, envoys }) => ({
        ordinal,
        file: id.split('#')[0]!,
        line,
        patterns: [...patterns],
        environment,
        envoys,
      })),
    }));
    return { directories };
  }

  async trace(query: z.output<typeof traceConfig.query>): Promise<z.input<typeof traceConfig.reply>> {
    const view = await this.#view(query);
    const head = { release: view.release, version: view.version, source: view.source };
    const enrolled = query.module === true ? undefined : this.#enrolled(query.name);
    const isModule = query.module === true || (enrolled === undefined && view.config.modules.has(query.name));
    if (isModule) {
      if (!view.config.modules.has(query.name)) throw new CodedError('NOT_FOUND', `no module "${query.name}"`);
      return { host: null, module: query.name, ...head, match: null, entries: [...traceModule(view.config, query.name)] };
    }
    const host = enrolled ?? query.name.toLowerCase();
    const today = new Date(this.#server.clock.now()).toISOString().slice(0, 10);
    const trace = traceHost(view.config, host, { environment: query.env, resource: query.resource, today });
    const wanted = query.sections?.split(',').flatMap((name) => SECTIONS[name] ?? []) ?? Object.values(SECTIONS).flat();
    const sections = Object.fromEntries(wanted.map((key) => [key, trace[key] as Json]));
    const { match, environment, entry } = trace;
    return {
      host,
      enrolled: enrolled !== undefined,
      ...head,
      environment,
      entry,
      match,
      ...sections,
    };
  }

  /** An enrolled host by exact name or unique prefix; undefined for any other name. @throws CodedError AMBIGUOUS_NAME */
  #enrolled(name: string): string | undefined {
    const { fleet } = this.#server;
    const wanted = name.toLowerCase();
    if (fleet.slotOfHostname(wanted) >= 0) return wanted;
    const hits = [...fleet.slots()]
      .filter((slot) => fleet.view(slot).active && fleet.hostname(slot).startsWith(wanted))
      .map((slot) => fleet.hostname(slot));
    if (hits.length <= 1) return hits[0];
    const findings = hits.slice(0, 20).map((hostname) => ({ path: hostname, rule: '', message: '' }));
    throw new CodedError('AMBIGUOUS_NAME', `"${name}" fits ${hits.length} hosts`, {
      hint: 'write more of the name',
      details: { findings },
    });
  }

  async secretRefs(): Promise<Awaited<ReturnType<ConfigPort['secretRefs']>>> {
    if (this.#server.releases.live === undefined) return [];
    const { config, tree } = await this.#view({});
    const entriesOf = new Map<string, string[]>();
    for (const compiled of config.entries.map((entry): CompiledEntry => compileEntry(config, entry)))
      for (const ref of compiled.body.secret_refs) entriesOf.set(ref, [...(entriesOf.get(ref) ?? []), compiled.entry.id]);
    const found: { ref: string; file: string; line: number; entries: string[] }[] = [];
    for (const { path, bytes } of tree.values()) {
      const text = Buffer.from(bytes).toString('utf8');
      if (!text.includes('secret:')) continue;
      text.split('\n').forEach((line, index) => {
        for (const [, ref] of line.matchAll(/\bsecret:([A-Za-z0-9_][A-Za-z0-9_./-]*(?:#[A-Za-z0-9_-]+)?)/g)) {
          const entries = entriesOf.get(ref!);
          if (entries !== undefined) found.push({ ref: ref!, file: path, line: index + 1, entries });
        }
      });
    }
    return found;
  }

  async validate(): Promise<{ readonly root: string; readonly findings: readonly Finding[] }> {
    const { paths, secrets, clock } = this.#server;
    const read: ReadTree = await readTree(paths.stage);
    const today = new Date(clock.now()).toISOString().slice(0, 10);
    const { problems } = await validateTree(read.tree, { today, secretExists: async (path) => (await secrets.exists(path)) !== null });
    return { root: rootOfTree(read.tree), findings: [...read.problems, ...problems].map(findingOf) };
  }

  async manifest(number: number): Promise<Json | undefined> {
    const directory = await releaseDirectory(this.#server.paths.releases, number);
    if (directory === undefined) return undefined;
    return JSON.parse(await readFile(join(directory, 'manifest.json'), 'utf8')) as Json;
  }

  /** Whether stage and live release have one root hash; null without a live release. */
  async stageIsLive(): Promise<boolean | null> {
    const { paths, releases } = this.#server;
    if (releases.live === undefined) return null;
    return rootOfTree((await readTree(paths.stage)).tree) === releases.live.root;
  }

  /** The number that the `live` link names; undefined without one. */
  async linkedRelease(): Promise<number | undefined> {
    const target = await readlink(this.#server.paths.live).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    const match = /(?:^|\/)(\d{6})-[0-9a-f]{12}\/?$/.exec(target);
    return match === null ? undefined : Number(match[1]);
  }
}
