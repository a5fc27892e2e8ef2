/** What a release would change for whom, before anything is published (config.md §11.1 step 8). */
import { canonicalJson } from '../../core/base/json.ts';
import type { CompiledEntry } from '../../core/config/compile.ts';
import { entryFor } from '../../core/config/match.ts';
import type { ConfigSnapshot } from '../../core/config/snapshot.ts';
import type { BodyModule, BodyResource } from '../../core/policy/body.ts';
import type { Impact } from './messages.ts';

interface Side {
  readonly config: ConfigSnapshot;
  readonly compiled: readonly CompiledEntry[];
}

const MAX_LINES = 200;

function resourcesOf(modules: readonly BodyModule[]): ReadonlyMap<string, BodyResource> {
  return new Map(modules.flatMap((module) => module.resources.map((resource) => [`${module.name}/${resource.name}`, resource] as const)));
}

function names(sign: string, list: readonly string[]): string {
  if (list.length === 0) return '';
  const shown = list.slice(0, 5).map((name) => `${sign}${name}`);
  return `${shown.join(' ')}${list.length > 5 ? ` … (${list.length})` : ''}`;
}

function difference(
  what: string,
  before: ReadonlyMap<string, unknown>,
  after: ReadonlyMap<string, unknown>,
  isSame: (key: string) => boolean,
): string {
  const added = [...after.keys()].filter((key) => !before.has(key));
  const removed = [...before.keys()].filter((key) => !after.has(key));
  const changed = [...after.keys()].filter((key) => before.has(key) && !isSame(key));
  const text = [names('+', added), names('-', removed), names('~', changed)].filter((part) => part !== '').join(' ');
  return text === '' ? '' : `${what} ${text}`;
}

/** `modules +a -b; resources ~m/f; variables ~port` */
export function describeChange(before: CompiledEntry | undefined, after: CompiledEntry | undefined): string {
  if (before === undefined || after === undefined) return before === undefined ? 'gets a policy' : 'loses its policy';
  const modules = [before, after].map(({ body }) => new Map(body.modules.map((module) => [module.name, module])));
  const resources = [before, after].map(({ body }) => resourcesOf(body.modules));
  const vars = [before, after].map(({ body }) => new Map(Object.entries(body.vars)));
  const same = (maps: readonly ReadonlyMap<string, unknown>[]) => (key: string) =>
    canonicalJson(maps[0]!.get(key)) === canonicalJson(maps[1]!.get(key));
  const parts = [
    difference('modules', modules[0]!, modules[1]!, () => true),
    difference('resources', resources[0]!, resources[1]!, same(resources)),
    difference('variables', vars[0]!, vars[1]!, same(vars)),
  ].filter((part) => part !== '');
  return parts.length === 0 ? 'order, templates, devices or conditions' : parts.join('; ');
}

/** Counts envoys by the entry they leave and the entry they get; equal policy hashes are no change. */
export function compareImpact(before: Side | undefined, after: Side, hostnames: readonly string[]): Impact {
  const old = new Map(before?.compiled.map((compiled) => [compiled.entry.id, compiled]));
  const now = new Map(after.compiled.map((compiled) => [compiled.entry.id, compiled]));
  const moves = new Map<string, { from: CompiledEntry | undefined; to: CompiledEntry | undefined; count: number }>();
  const unmatched: string[] = [];
  let envoys = 0;
  for (const hostname of hostnames) {
    const from = old.get(before === undefined ? '' : (entryFor(before.config, hostname)?.id ?? ''));
    const to = now.get(entryFor(after.config, hostname)?.id ?? '');
    if (from?.policyHash === to?.policyHash) continue;
    envoys++;
    if (to === undefined) unmatched.push(hostname);
    const key = `${from?.entry.id ?? ''}\0${to?.entry.id ?? ''}`;
    const move = moves.get(key);
    if (move === undefined) moves.set(key, { from, to, count: 1 });
    else move.count++;
  }
  for (const [id, to] of now) {
    const from = old.get(id);
    if (from?.policyHash !== to.policyHash && ![...moves.values()].some((move) => move.to === to))
      moves.set(`\0${id}`, { from, to, count: 0 });
  }
  const lines = [...moves.values()].map(({ from, to, count }) => {
    const moved = from !== undefined && to !== undefined && from.entry.id !== to.entry.id ? ` (was ${from.body.match})` : '';
    return `${(to ?? from)!.body.match}: ${count} envoys${moved}: ${describeChange(from, to)}`;
  });
  return {
    envoys,
    entries: new Set([...moves.values()].map(({ from, to }) => (to ?? from)!.entry.id)).size,
    unmatched,
    lines: lines.slice(0, MAX_LINES),
  };
}
