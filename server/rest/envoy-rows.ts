/** Envoys as the API shows them, and finding one by what people type. */
import { createHash } from 'node:crypto';
import type { EnvoyItem } from '../../core/api/envoys.ts';
import { CodedError } from '../../core/base/errors.ts';
import { compileGlob, type Glob } from '../../core/base/glob.ts';
import { isUuid } from '../../core/base/ids.ts';
import { isPlainObject } from '../../core/base/json.ts';
import { FLAG } from '../fleet/columns.ts';
import type { EnvoyView } from '../fleet/fleet-index.ts';
import type { EnvoyRow, RunSummary } from '../store/store.ts';
import { timeText } from './pages.ts';
import type { RestParts } from './parts.ts';

interface PolicyFacts {
  readonly entry: string;
  readonly environment: string | null;
  readonly roles: readonly string[];
}

const FACTS = new WeakMap<object, PolicyFacts>();
const FLAG_NAMES = {
  observing: FLAG.observing,
  stale: FLAG.stale,
  no_policy: FLAG.noPolicy,
  held: FLAG.held,
  clock_skew: FLAG.clockSkew,
} as const;

type Parts = Pick<RestParts, 'fleet' | 'store' | 'releases' | 'identity'>;

/** What the live release says about a host; read once an entry. */
export function policyFacts(parts: Pick<RestParts, 'releases'>, hostname: string): PolicyFacts | undefined {
  const policy = parts.releases.policyOf(hostname);
  if (policy === undefined) return undefined;
  const known = FACTS.get(policy);
  if (known !== undefined) return known;
  const body: unknown = JSON.parse(Buffer.from(policy.body).toString('utf8'));
  const { environment, roles } = isPlainObject(body) ? body : {};
  const facts = {
    entry: policy.entry,
    environment: typeof environment === 'string' ? environment : null,
    roles: Array.isArray(roles) ? roles.map(String) : [],
  };
  FACTS.set(policy, facts);
  return facts;
}

export function fingerprint(key: Uint8Array): string {
  return createHash('sha256').update(key).digest('hex');
}

export function envoyItem(parts: Parts, view: EnvoyView, row: EnvoyRow | undefined): EnvoyItem {
  const facts = policyFacts(parts, view.hostname);
  return {
    id: view.id,
    hostname: view.hostname,
    spoke: parts.identity.siteId,
    status: view.revoked ? 'revoked' : view.active ? 'active' : 'pending',
    state: view.state,
    drift: view.drift,
    last_seen: timeText(view.lastSeen),
    release: view.release,
    environment: facts?.environment ?? null,
    roles: [...(facts?.roles ?? [])],
    entry: facts?.entry ?? null,
    os: row?.platform ?? '',
    agent_version: row?.agentVersion ?? '',
    address: row?.address ?? '',
    flags: Object.entries(FLAG_NAMES).flatMap(([name, bit]) => ((view.flags & bit) !== 0 ? [name] : [])),
    labels: { ...row?.labels },
  };
}

export function runItem(run: RunSummary) {
  return {
    id: run.runId,
    envoy_id: run.subject,
    hostname: run.hostname,
    started_at: timeText(run.startedAt),
    received_at: timeText(run.receivedAt),
    duration_ms: Math.max(0, run.endedAt - run.startedAt),
    mode: run.mode,
    partial: run.partial,
    flags: [...run.flags],
    release: run.release,
    ok: run.ok,
    changed: run.changed,
    failed: run.failed,
    blocked: run.blocked,
    skipped: run.skipped,
  };
}

/** The slot of an envoy by UUID, exact hostname, or a unique prefix of either (4 characters or more). @throws CodedError NOT_FOUND, AMBIGUOUS_NAME */
export function findEnvoy(parts: Parts, name: string): number {
  const { fleet } = parts;
  const wanted = name.toLowerCase();
  const exact = isUuid(wanted) ? fleet.slotOf(wanted) : fleet.slotOfHostname(wanted);
  if (exact >= 0 && !fleet.view(exact).departed) return exact;
  const hits: number[] = [];
  if (wanted.length >= 4 && !isUuid(wanted)) {
    for (const slot of fleet.slots()) {
      if (fleet.hostname(slot).startsWith(wanted) || fleet.view(slot).id.startsWith(wanted)) hits.push(slot);
      if (hits.length > 20) break;
    }
  }
  if (hits.length === 1) return hits[0]!;
  if (hits.length === 0) throw new CodedError('NOT_FOUND', `no envoy "${name.slice(0, 80)}"`);
  // one live envoy among former ones of its name is the one that is meant
  const active = hits.filter((slot) => fleet.view(slot).active);
  if (active.length === 1) return active[0]!;
  const findings = hits.map((slot) => ({ path: fleet.view(slot).id, rule: '', message: fleet.hostname(slot) }));
  throw new CodedError('AMBIGUOUS_NAME', `"${name.slice(0, 80)}" fits ${hits.length} envoys`, {
    hint: 'write more of the name',
    details: { findings },
  });
}

type Term = (slot: number) => boolean;

/** Which envoys a target means; the terms of server.md §9.1 that need no traits. @throws CodedError TARGET_SYNTAX */
export function compileTarget(parts: Parts, target: string): (slot: number) => boolean {
  const included: Term[][] = [];
  const excluded: Term[][] = [];
  for (const part of target.split(',')) {
    const item = part.trim();
    const negative = item.startsWith('-');
    const terms = item
      .slice(negative ? 1 : 0)
      .split('+')
      .map((term) => compileTerm(parts, term.trim()));
    (negative ? excluded : included).push(terms);
  }
  if (included.length === 0) throw new CodedError('TARGET_SYNTAX', 'a target of exclusions only means nobody');
  const holds = (items: readonly Term[][], slot: number) => items.some((terms) => terms.every((term) => term(slot)));
  return (slot) => parts.fleet.view(slot).active && holds(included, slot) && !holds(excluded, slot);
}

function compileTerm(parts: Parts, term: string): Term {
  const { fleet } = parts;
  if (term === '') throw new CodedError('TARGET_SYNTAX', 'a part of the target is empty');
  if (term === '@all') return () => true;
  const [, kind, rest] = /^([a-z]+):(.*)$/s.exec(term) ?? [];
  if (kind === undefined) {
    if (/[=<>!]/.test(term)) throw new CodedError('TARGET_SYNTAX', `targets by trait are not part of this build: "${term.slice(0, 80)}"`);
    if (isUuid(term.toLowerCase())) return (slot) => fleet.view(slot).id === term.toLowerCase();
    const glob = globOf(term);
    return (slot) => glob.matches(fleet.hostname(slot));
  }
  const glob = globOf(rest ?? '');
  const byKind: Readonly<Record<string, (slot: number) => string | readonly string[]>> = {
    env: (slot) => policyFacts(parts, fleet.hostname(slot))?.environment ?? '',
    role: (slot) => policyFacts(parts, fleet.hostname(slot))?.roles ?? [],
    state: (slot) => fleet.view(slot).state,
    release: (slot) => String(fleet.view(slot).release),
    id: (slot) => fleet.view(slot).id,
    spoke: () => parts.identity.siteId,
  };
  const read = Object.hasOwn(byKind, kind) ? byKind[kind] : undefined;
  if (read === undefined)
    throw new CodedError('TARGET_SYNTAX', `targets by ${kind} are not part of this build`, {
      hint: `there are ${Object.keys(byKind).join(', ')} and host names`,
    });
  return (slot) => [read(slot)].flat().some((value) => glob.matches(value));
}

function globOf(pattern: string): Glob {
  try {
    return compileGlob(pattern);
  } catch (cause) {
    throw new CodedError('TARGET_SYNTAX', `"${pattern.slice(0, 80)}" is no pattern`, { cause });
  }
}
