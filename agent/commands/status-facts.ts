/** What `vigo status` knows, from local files alone (server.md §4.5). */
import { join } from 'node:path';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import { showReferences } from '../../core/config/secrets.ts';
import type { Body, BodyResource } from '../../core/policy/body.ts';
import { resourceSpec } from '../../core/resources/index.ts';
import { hasRootKey, readEnvoyId } from '../enroll/identity.ts';
import { knownServers } from '../link/home.ts';
import { ownerInUse, serversInOrder } from '../link/owner.ts';
import { isStale } from '../policy-intake.ts';
import type { AgentSettings } from '../settings.ts';
import { openStateStore } from '../state/lmdb-state-store.ts';
import type { StateStore } from '../state/state-store.ts';
import type { System } from '../system/system.ts';

export interface StatusPolicy {
  readonly version: string;
  readonly match: string;
  readonly environment: string | null;
  readonly roles: readonly string[];
  readonly modules: readonly {
    readonly name: string;
    readonly resources: readonly { readonly type: string; readonly primary: string }[];
  }[];
  readonly resources: number;
  readonly max_age_s: number | null;
}

export interface StatusFacts {
  readonly envoy_id: string | null;
  readonly server: string;
  /** address and site of the owner, when a hub routed the envoy */
  readonly spoke: string | null;
  readonly owner_epoch: number;
  readonly fallback_servers: readonly string[];
  readonly data_directory: string;
  readonly state_store: string;
  /** why the state store cannot be read */
  readonly state_store_error: string | null;
  readonly release: number | null;
  /** RFC 3339 */
  readonly proven_current_at: string | null;
  readonly mode: 'observe' | 'dry run' | null;
  readonly warnings: readonly string[];
  readonly policy: StatusPolicy | null;
  readonly traits: { readonly collectors: number; readonly age_ms: number } | null;
  readonly pending_results: number | null;
  readonly server_pubkey: boolean;
}

const SECOND = 1_000;

function primaryOf({ type, attrs, name }: BodyResource): string {
  const value = attrs[resourceSpec(type)?.primary ?? 'name'] ?? name;
  const shown = showReferences(value);
  return typeof shown === 'string' ? shown : Array.isArray(shown) ? shown.join(', ') : name;
}

function policyOf(body: Body, maxAgeSeconds: number | null): StatusPolicy {
  return {
    version: body.version,
    match: body.match,
    environment: body.environment,
    roles: body.roles,
    modules: body.modules.map(({ name, resources }) => ({
      name,
      resources: resources.map((resource) => ({ type: resource.type, primary: primaryOf(resource) })),
    })),
    resources: body.resource_count,
    max_age_s: maxAgeSeconds,
  };
}

function warningsOf(state: StateStore, now: number): string[] {
  const { facts } = state;
  const held = state.policy.held();
  const noPolicy = facts.get('noPolicy') ?? '';
  const skewMs = Math.abs(facts.get('clockSkewMs') ?? 0);
  const dropped = facts.get('droppedResults') ?? 0;
  const warnings: [string, boolean][] = [
    ['stale bundle', held !== undefined && isStale(held, { now, offsetMs: facts.get('clockSkewMs') ?? 0, monotonicMs: 0 })],
    [`no policy at server (${noPolicy})`, noPolicy !== ''],
    [`clock skew ${Math.round(skewMs / 60_000)}m`, skewMs > 0],
    ['revoked', facts.get('revoked') === true],
    [`results dropped: ${dropped}`, dropped > 0],
  ];
  return warnings.filter(([, on]) => on).map(([text]) => text);
}

function secondsBetween(from: string, to: string | null): number | null {
  return to === null ? null : Math.round((Date.parse(to) - Date.parse(from)) / SECOND);
}

/** Who owns the envoy, and who else is tried. */
function ownerFacts(state: StateStore | undefined, settings: AgentSettings) {
  const envoyId = orNull(() => readEnvoyId(settings.configDir));
  const enrolled = { envoyId: envoyId ?? '', siteId: settings.site_id, ownerEpoch: settings.owner_epoch };
  const inUse = ownerInUse(state?.facts.get('owner'), enrolled);
  const { owner, ownerEpoch, siteId } = inUse;
  const servers = state === undefined ? serversInOrder(inUse, undefined, settings) : knownServers(state, enrolled, settings);
  const own = new Set(owner?.servers ?? [settings.server]);
  const configured = settings.spoke === undefined || settings.spoke.includes('(') ? settings.spoke : `${settings.spoke} (${siteId})`;
  return {
    spoke: owner === undefined ? (configured ?? null) : `${owner.servers[0]} (${siteId})`,
    owner_epoch: ownerEpoch,
    fallback_servers: servers.filter((server) => !own.has(server)),
  };
}

function stateFacts(state: StateStore | undefined, settings: AgentSettings, now: number) {
  if (state === undefined) return { ...NOTHING_HELD, pending_results: 0 };
  const held = state.policy.held();
  const provenAt = state.facts.get('provenAt');
  const traits = state.traits.last();
  const header = held?.header;
  return {
    release: header === undefined ? null : header.release,
    proven_current_at: provenAt === undefined ? null : new Date(provenAt).toISOString().replace(/\.\d+Z$/, 'Z'),
    mode: settings.dry_run ? ('dry run' as const) : header?.observe === true ? ('observe' as const) : null,
    warnings: warningsOf(state, now),
    policy: held?.body === undefined ? null : policyOf(held.body.body, secondsBetween(held.header.issued_at, held.header.expires_at)),
    traits: traits === undefined ? null : { collectors: Object.keys(traits.traits).length, age_ms: Math.max(0, now - traits.collectedAt) },
    pending_results: state.results.count(),
  };
}

const NOTHING_HELD = { release: null, proven_current_at: null, mode: null, warnings: [], policy: null, traits: null } as const;

/** Reads; makes nothing, not even a folder. */
export async function statusFacts(settings: AgentSettings, system: System, now: number): Promise<StatusFacts> {
  const folder = join(settings.stateDir, 'state');
  const common = {
    envoy_id: orNull(() => readEnvoyId(settings.configDir)),
    server: settings.server,
    data_directory: settings.configDir,
    state_store: folder,
    server_pubkey: hasRootKey(settings.configDir),
  };
  let state: StateStore | undefined;
  try {
    state = (await system.stat(join(folder, 'data.mdb'))) === undefined ? undefined : openStateStore(folder);
    return { ...common, ...ownerFacts(state, settings), ...stateFacts(state, settings, now), state_store_error: null };
  } catch (thrown) {
    const cause = thrown instanceof CodedError && thrown.cause instanceof Error ? thrown.cause : thrown;
    const errno = (cause as { readonly code?: unknown }).code;
    const reason = errno === 'EACCES' || errno === 'EPERM' ? 'permission denied' : messageOf(thrown);
    return { ...common, ...ownerFacts(undefined, settings), ...NOTHING_HELD, pending_results: null, state_store_error: reason };
  } finally {
    await state?.close();
  }
}

function orNull<T>(read: () => T | undefined): T | null {
  try {
    return read() ?? null;
  } catch {
    // not readable for this account
    return null;
  }
}
