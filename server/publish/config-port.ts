/** Publishing as the REST API speaks of it. */
import type { Clock } from '../../core/base/clock.ts';
import type { Problem } from '../../core/base/problem.ts';
import { actorOf, type Principal } from '../access/permissions.ts';
import type { ConfigPort } from '../rest/parts.ts';
import type { LiveRelease } from './live-release.ts';
import type { Publisher } from './publisher.ts';
import type { PublishOutcome } from './publisher-parts.ts';
import { TraceService } from './trace-service.ts';

export interface ConfigPortParts {
  readonly publisher: Publisher;
  readonly stage: string;
  readonly clock: Clock;
  hostnames(): Iterable<string>;
}

type Result = Awaited<ReturnType<ConfigPort['publish']>>;

/** The API's findings know no undefined members. */
function finding({ rule, severity, message, hint, at, module, resource, entry }: Problem): Result['findings'][number] {
  return {
    rule,
    severity,
    message,
    ...(hint === undefined ? {} : { hint }),
    ...(at === undefined ? {} : { at: { ...at } }),
    ...(module === undefined ? {} : { module }),
    ...(resource === undefined ? {} : { resource }),
    ...(entry === undefined ? {} : { entry }),
  };
}

function result({ status, root, findings, files, impact, release }: PublishOutcome): Result {
  return {
    status,
    number: release?.number ?? null,
    version: release?.version ?? null,
    root,
    findings: findings.map(finding),
    files: { added: [...files.added], changed: [...files.changed], removed: [...files.removed] },
    impact: { envoys: impact.envoys, entries: impact.entries, unmatched: impact.unmatched.length, lines: [...impact.lines] },
  };
}

function shown(release: LiveRelease | undefined): { number: number; version: string; root: string } | null {
  return release === undefined ? null : { number: release.number, version: release.version, root: release.root };
}

export function createConfigPort(parts: ConfigPortParts): ConfigPort {
  const { publisher } = parts;
  const traces = new TraceService(parts);
  const who = (principal: Principal, requestId: string) => ({ author: principal.name, actor: actorOf(principal), requestId });
  return {
    async status() {
      const name = await publisher.liveName();
      const loaded = shown(publisher.live);
      const onDisk = name === publisher.live?.stored.name ? loaded : name === undefined ? null : await liveOnDisk(publisher, name);
      const stageRoot = await stageRootOf(parts);
      return {
        healthy: publisher.lastError === undefined && publisher.live !== undefined,
        live: onDisk,
        loaded,
        last_error: publisher.lastError ?? null,
        freeze: null,
        pending: 0,
        watch: null,
        stage_is_live: stageRoot === undefined || publisher.live === undefined ? null : stageRoot === publisher.live.root,
      };
    },
    async validate() {
      const { root, findings } = await publisher.validate();
      return { root, findings: findings.map(finding) };
    },
    async publish(options, author, requestId) {
      return result(
        await publisher.publish({
          ...who(author, requestId),
          message: options.message,
          dryRun: options.dry_run,
          dangerous: options.dangerous,
          strict: options.strict,
          skipUrlCheck: options.skip_url_check,
          root: options.root,
        }),
      );
    },
    async rollback(options, author, requestId) {
      return result(
        await publisher.rollback({
          ...who(author, requestId),
          number: options.number,
          message: options.message,
          dangerous: options.dangerous,
        }),
      );
    },
    async manifest(number) {
      const directory = await publisher.folder.byNumber(number);
      return directory === undefined ? undefined : (await publisher.folder.open(directory)).manifest;
    },
    trace: (query) => traces.trace(query),
    tree: (query) => traces.tree(query),
    async secretRefs() {
      const refs = new Map<string, { ref: string; file: string; line: number; entries: string[] }>();
      for (const { entry, file, line, secretRefs } of publisher.live?.entries.values() ?? [])
        for (const ref of secretRefs) {
          const known = refs.get(ref);
          if (known === undefined) refs.set(ref, { ref, file, line, entries: [entry] });
          else known.entries.push(entry);
        }
      return [...refs.values()].sort((a, b) => (a.ref < b.ref ? -1 : 1));
    },
    async secretChanged(path) {
      const changed = new Set(await publisher.refreshSecrets());
      if (changed.size === 0) return 0;
      const users = new Set(
        [...(publisher.live?.entries.values() ?? [])]
          .filter(({ entry, secretRefs }) => changed.has(entry) && secretRefs.some((ref) => ref.split('#', 1)[0] === path))
          .map(({ entry }) => entry),
      );
      let envoys = 0;
      for (const hostname of parts.hostnames()) if (users.has(publisher.live?.entryIdFor(hostname) ?? '')) envoys++;
      return envoys;
    },
  };
}

async function liveOnDisk(publisher: Publisher, name: string): Promise<{ number: number; version: string; root: string } | null> {
  const directory = (await publisher.folder.list()).find((release) => release.name === name);
  if (directory === undefined) return null;
  try {
    const { number, version, root } = (await publisher.folder.open(directory)).manifest;
    return { number, version, root };
  } catch {
    // it does not verify: last_error says so
    return { number: directory.number, version: '', root: '' };
  }
}

async function stageRootOf({ publisher, stage }: ConfigPortParts): Promise<string | undefined> {
  try {
    return await publisher.thread.ask('rootOf', { directory: stage });
  } catch {
    // no stage yet: nothing to compare
    return undefined;
  }
}
