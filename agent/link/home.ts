/** Where this envoy belongs: follows the grants of the hub, and keeps the order in which servers are tried. */
import { CodedError, messageOf } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import { type Grant, signedGrantSchema } from '../../core/policy/ownership.ts';
import { heldAuthority } from '../policy-intake.ts';
import type { StateStore } from '../state/state-store.ts';
import { type Enrolled, type Owner, type OwnerInUse, ownerInUse, serversInOrder } from './owner.ts';
import type { TrustStore } from './trust.ts';

const REDIRECTS_A_CYCLE = 3;
const CYCLES_ON_A_FALLBACK = 10;
const MAX_PREVIOUS = 8;
const CARRIERS: ReadonlySet<string> = new Set(['REDIRECT', 'WRONG_AUDIENCE', 'RETRY_ELSEWHERE']);
const ADDRESS = /^[^\s/@]+:\d{1,5}$/;

export interface HomeParts {
  readonly enrolled: Enrolled;
  readonly configured: { readonly server: string; readonly api_addr: string; readonly fallback_servers: readonly string[] };
  readonly trust: TrustStore;
  readonly state: StateStore;
  readonly log: Logger;
}

const sameList = (a: readonly string[], b: readonly string[]) => a.length === b.length && a.every((one, index) => one === b[index]);

function isUsable(grant: Grant): boolean {
  const all = [...grant.servers, ...grant.fallback_servers];
  return all.every((server) => ADDRESS.test(server)) && URL.canParse(grant.api_url) && new URL(grant.api_url).protocol === 'https:';
}

/** Everything that this agent may dial, the owner first. What the directive of another site said is not part of it. */
export function knownServers(
  state: StateStore,
  enrolled: Enrolled,
  configured: Pick<HomeParts['configured'], 'server' | 'fallback_servers'>,
) {
  const inUse = ownerInUse(state.facts.get('owner'), enrolled);
  const said = state.policy.held()?.header.site_id ?? inUse.siteId;
  return serversInOrder(inUse, said === inUse.siteId ? heldAuthority(state) : undefined, configured);
}

export class Home {
  readonly #parts: HomeParts;
  /** a server that is not the first and answers: it is kept until it fails */
  #kept: { readonly server: string; cycles: number } | undefined;
  #redirects = 0;

  constructor(parts: HomeParts) {
    this.#parts = parts;
  }

  get #inUse(): OwnerInUse {
    return ownerInUse(this.#parts.state.facts.get('owner'), this.#parts.enrolled);
  }

  get siteId(): string {
    return this.#inUse.siteId;
  }

  /** What a header of this site said, or its grant; what another site claimed counts for nothing. */
  get ownerEpoch(): number {
    const { siteId, ownerEpoch } = this.#inUse;
    const header = this.#parts.state.policy.held()?.header;
    return header?.site_id === siteId ? Math.max(ownerEpoch, header.owner_epoch) : ownerEpoch;
  }

  /** Highest epoch seen of the site in use: that of another one says nothing here. */
  get highestEpoch(): number {
    const header = this.#parts.state.policy.held()?.header;
    return header?.site_id === this.siteId ? header.epoch : 0;
  }

  /** False between a move and the first header of the new owner. */
  get holdsOwnHeader(): boolean {
    const site = this.#parts.state.policy.held()?.header.site_id;
    return site === undefined || site === this.siteId;
  }

  /** https address of the owner's REST port */
  get apiUrl(): string {
    return this.#inUse.owner?.api_url ?? this.#parts.configured.api_addr;
  }

  get servers(): readonly string[] {
    const { state, enrolled, configured } = this.#parts;
    return knownServers(state, enrolled, configured);
  }

  /** The order of this moment: a fallback that answers comes first. */
  get order(): readonly string[] {
    const { servers } = this;
    const kept = this.#kept?.server;
    return kept !== undefined && servers.includes(kept) ? [kept, ...servers.filter((server) => server !== kept)] : servers;
  }

  answered(server: string): void {
    if (server === this.servers[0]) this.#kept = undefined;
    else if (this.#kept?.server !== server) this.#kept = { server, cycles: 0 };
  }

  failed(server: string): void {
    if (this.#kept?.server === server) this.#kept = undefined;
  }

  /** A conversation begins: redirects count anew, and every so often the owner is asked before a fallback that works. */
  beginCycle(): void {
    this.#redirects = 0;
    if (this.#kept === undefined) return;
    this.#kept.cycles += 1;
    if (this.#kept.cycles >= CYCLES_ON_A_FALLBACK) this.#kept = undefined;
  }

  /**
   * Looks for a grant in a refusal and, when it holds and is news, keeps it. What does not hold changes nothing and is logged.
   * @returns true when the order of servers has changed: the request, signed again, may succeed now
   * @throws CodedError STORE_FULL: a grant that cannot be kept is not followed
   */
  async follow(refusal: CodedError): Promise<boolean> {
    const carried = CARRIERS.has(refusal.code) ? refusal.details?.['redirect'] : undefined;
    if (carried === undefined || carried === null) return false;
    const { log, enrolled } = this.#parts;
    let grant: Grant;
    try {
      grant = this.#parts.trust.openGrant(signedGrantSchema.parse(carried));
      if (grant.envoy_id !== enrolled.envoyId) throw new CodedError('BUNDLE_REJECTED', 'the grant is for another envoy');
      if (!isUsable(grant)) throw new CodedError('BUNDLE_REJECTED', 'the grant names no usable address');
    } catch (thrown) {
      const reason = thrown instanceof CodedError ? messageOf(thrown) : 'the grant has an unknown shape';
      log.error('a redirect was refused, nothing changes', { code: refusal.code, reason });
      return false;
    }
    return this.#weigh(grant);
  }

  async #weigh(grant: Grant): Promise<boolean> {
    const { log, state } = this.#parts;
    const { siteId, ownerEpoch, owner } = this.#inUse;
    const named = { site: grant.site_id, owner_epoch: grant.owner_epoch };
    if (grant.owner_epoch < ownerEpoch) {
      log.info('an older redirect is ignored', { ...named, current: ownerEpoch });
      return false;
    }
    if (grant.owner_epoch === ownerEpoch && grant.site_id !== siteId) {
      log.error('two sites are named owner with one epoch: the redirect is refused', { ...named, current: siteId });
      await state.facts.set('ownerEquivocation', true);
      return false;
    }
    const isMove = grant.owner_epoch > ownerEpoch;
    if (!isMove && !isNews(grant, owner)) return false;
    if (this.#redirects >= REDIRECTS_A_CYCLE) {
      log.warn('too many redirects in one cycle: this one waits for the next', named);
      return false;
    }
    this.#redirects += 1;
    await state.facts.set('owner', { ...kept(grant), previous: isMove ? this.#present() : (owner?.previous ?? []) });
    this.#kept = undefined;
    log.info(isMove ? 'this envoy has a new owner' : 'the owner has new addresses', { ...named, servers: grant.servers.join(', ') });
    return true;
  }

  /** The servers of the site that is about to be left. */
  #present(): readonly string[] {
    const { owner } = this.#inUse;
    const { state, configured } = this.#parts;
    const own = owner?.servers ?? [configured.server];
    const told = this.holdsOwnHeader ? (heldAuthority(state)?.servers ?? []) : [];
    return [...new Set([...own, ...told])].slice(0, MAX_PREVIOUS);
  }
}

function kept({ fleet_id: _fleet, ...grant }: Grant): Omit<Owner, 'previous'> {
  return grant;
}

/** Another address of the same owner, said later than what is known. */
function isNews(grant: Grant, owner: Owner | undefined): boolean {
  if (owner === undefined) return true;
  if (grant.issued_at <= owner.issued_at) return false;
  return (
    grant.api_url !== owner.api_url || !sameList(grant.servers, owner.servers) || !sameList(grant.fallback_servers, owner.fallback_servers)
  );
}
