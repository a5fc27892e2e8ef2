/** Spokes as people see and change them. */
import { stringify } from 'yaml';
import type { z } from 'zod';
import type { addSpoke, SpokeItem, setSpoke } from '../core/api/spanner.ts';
import { CodedError } from '../core/base/errors.ts';
import { compileGlob } from '../core/base/glob.ts';
import type { JsonObject } from '../core/base/json.ts';
import type { Actor } from '../server/audit/record.ts';
import { revokeSerial } from '../server/identity/sign-spoke.ts';
import { JOIN_TOKEN } from '../server/init.ts';
import type { ServerParts } from '../server/parts.ts';
import { heartbeatSchema } from '../server/spanner/site/heartbeat.ts';
import { delegationsOf, serialOf } from './delegations.ts';
import { mintJoinToken } from './join.ts';
import { newSite, type SiteRegistry, type SiteRow, type SiteState } from './sites.ts';

type Parts = Pick<ServerParts, 'advertised' | 'clock' | 'identity' | 'paths' | 'revocations' | 'settings' | 'store' | 'trail'>;

const timeText = (ms: number): string | null => (ms === 0 ? null : new Date(ms).toISOString());

export function spokeItem(site: SiteState, now: number): SpokeItem {
  const { link } = site;
  const said = heartbeatSchema.safeParse(link.heartbeat);
  const figures = said.success ? said.data : undefined;
  const judged = (figures?.envoys ?? 0) - (figures?.no_data ?? 0);
  return {
    id: site.id,
    state: site.state,
    source: site.own ? 'own' : site.source,
    addr: site.addr,
    api_url: site.apiUrl,
    fallback: [...site.fallback],
    patterns: [...site.patterns],
    weight: site.weight,
    labels: { ...site.labels },
    link: {
      state: site.own ? 'own' : link.session?.isOpen === true ? 'up' : link.since === 0 && site.lastSeen === 0 ? 'never' : 'down',
      since: timeText(link.since === 0 ? site.lastSeen : link.since),
      reason: link.reason,
      rtt_ms: link.session?.rttMs === undefined ? null : Math.round(link.session.rttMs * 10) / 10,
      clock_offset_ms: link.clockOffsetMs ?? null,
    },
    envoys: figures?.envoys ?? null,
    offline: figures?.offline ?? null,
    converged_pct: figures === undefined || judged <= 0 ? null : Math.round((figures.converged / judged) * 1000) / 10,
    release: figures?.release ?? null,
    version: figures?.version ?? null,
    age_s: link.heartbeatAt === 0 ? null : Math.max(0, Math.round((now - link.heartbeatAt) / 1000)),
    created_at: timeText(site.createdAt),
    state_since: timeText(site.stateAt),
  };
}

type Wanted = z.output<typeof setSpoke.body>;

function changeOf({ patterns, addr, fallback, weight, labels }: Wanted): Partial<Omit<SiteRow, 'id'>> {
  for (const pattern of patterns ?? []) compileGlob(pattern);
  const change = { patterns, addr, fallback, weight, labels };
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}

export class Spokes {
  readonly #parts: Parts;
  readonly #sites: SiteRegistry;
  /** called for one that was removed, after it is stored: its serials are out */
  readonly #removed: (siteId: string) => void;

  constructor(parts: Parts, sites: SiteRegistry, removed: (siteId: string) => void) {
    this.#parts = parts;
    this.#sites = sites;
    this.#removed = removed;
  }

  #known(id: string): SiteState {
    const site = this.#sites.get(id);
    if (site === undefined || site.state === 'removed')
      throw new CodedError('NOT_FOUND', `no spoke ${id}`, { hint: 'vigocli spanner spoke list' });
    return site;
  }

  item(id: string): SpokeItem {
    return spokeItem(this.#known(id), this.#parts.clock.now());
  }

  items(): SpokeItem[] {
    return this.#sites.list().map((site) => spokeItem(site, this.#parts.clock.now()));
  }

  /** @throws CodedError DUPLICATE_SPOKE, BAD_REQUEST */
  async add(wanted: z.output<typeof addSpoke.body>, actor: Actor, requestId: string): Promise<z.input<typeof addSpoke.reply>> {
    const { clock, store, trail, settings } = this.#parts;
    const { id, ttl_s: ttlS } = wanted;
    if (['hub', 'main', 'none', this.#parts.identity.siteId].includes(id))
      throw new CodedError('BAD_REQUEST', `a spoke cannot be called ${id}`);
    const known = this.#sites.get(id);
    const change = changeOf(wanted);
    if (known !== undefined && known.state !== 'joining' && known.state !== 'removed')
      throw new CodedError('DUPLICATE_SPOKE', `there is a spoke ${id}, ${known.state} since ${timeText(known.stateAt) ?? ''}`);
    if (known?.source === 'settings' && Object.keys(change).length > 0)
      throw new CodedError('DUPLICATE_SPOKE', `the spoke ${id} stands in server.yaml: a token is made for it without other flags`);
    const now = clock.now();
    const { token, hash, expiresAt } = mintJoinToken(this.#parts, id, ttlS * 1000);
    // a removed one comes back as another, with a higher epoch
    const anew = { ...newSite(id, 'database', now), epoch: known?.epoch ?? 1, serverId: known?.serverId ?? '' };
    const fresh = known === undefined || known.state === 'removed' ? anew : known;
    const { own: _own, link: _link, ...row } = { own: false, link: undefined, ...fresh, ...change };
    const join = { hash, expiresAt, spentAt: 0, answer: '' };
    await store.transaction(async (tx) => {
      await tx.sites.put({ ...row, state: 'joining', stateAt: now, join });
      await trail.record(tx, {
        actor,
        event: 'spoke.added',
        target: { kind: 'spoke', id, name: row.addr },
        outcome: 'ok',
        requestId,
        data: { patterns: [...row.patterns], weight: row.weight, expires_at: new Date(expiresAt).toISOString() },
      });
    });
    await this.#sites.reload(id);
    return { id, token, expires_at: timeText(expiresAt), server_yaml: this.#serverYaml(id, row.addr, settings.server.hostname) };
  }

  /** What the spoke's server.yaml needs; the rest has defaults. */
  #serverYaml(id: string, addr: string, hubHost: string): string {
    const { advertised } = this.#parts;
    const hostname = addr === '' ? `${id}.${hubHost}` : addr.slice(0, addr.lastIndexOf(':')).replace(/^\[|\]$/g, '');
    const server = addr === '' || addr.endsWith(':1530') ? { hostname } : { hostname, advertise: addr };
    return stringify({ server, spanner: { role: 'spoke', spoke_id: id, hub_addr: [advertised], join_token_file: JOIN_TOKEN } });
  }

  /** @throws CodedError NOT_FOUND, PRECONDITION_FAILED for one of server.yaml */
  async set(id: string, wanted: Wanted, actor: Actor, requestId: string): Promise<SpokeItem> {
    const site = this.#known(id);
    if (site.own || site.source === 'settings')
      throw new CodedError('PRECONDITION_FAILED', `${id} is described in server.yaml`, {
        hint: 'change spanner.spokes there and restart the hub',
      });
    const change = changeOf(wanted);
    const { store, trail } = this.#parts;
    await store.transaction(async (tx) => {
      await tx.sites.update(id, change);
      await trail.record(tx, {
        actor,
        event: 'spoke.changed',
        target: { kind: 'spoke', id, name: site.addr },
        outcome: 'ok',
        requestId,
        data: change as JsonObject,
      });
    });
    await this.#sites.reload(id);
    return this.item(id);
  }

  /** @throws CodedError NOT_FOUND, DRAIN_NOT_EMPTY, NOT_READY without the root key */
  async remove(id: string, actor: Actor, requestId: string): Promise<readonly string[]> {
    const { store, trail, clock, paths, identity, revocations } = this.#parts;
    const site = this.#known(id);
    if (site.own) throw new CodedError('BAD_REQUEST', 'the site of the hub itself cannot be removed');
    if (!['joining', 'drained', 'evacuated'].includes(site.state))
      throw new CodedError('DRAIN_NOT_EMPTY', `the spoke ${id} is ${site.state}`, {
        hint: `vigocli spanner spoke drain ${id}, or evacuate when it is dead`,
      });
    if (site.source === 'settings')
      throw new CodedError('PRECONDITION_FAILED', `${id} stands in server.yaml`, {
        hint: 'take it out of spanner.spokes, restart the hub, then remove it',
      });
    const now = clock.now();
    const { serials, records } = await store.transaction(async (tx) => {
      // as it is now: one that was renewed a moment ago must go as well
      const serials = delegationsOf((await tx.sites.byId(id)) ?? site).map(serialOf);
      // signed before anything is written: without the root nothing changes
      const records = serials.map((serial) => revokeSerial(paths, identity.fleetId, serial, now));
      await tx.sites.update(id, { state: 'removed', stateAt: now, join: { hash: '', expiresAt: 0, spentAt: 0, answer: '' } });
      await trail.record(tx, {
        actor,
        event: 'spoke.removed',
        target: { kind: 'spoke', id, name: site.addr },
        outcome: 'ok',
        requestId,
        data: { was: site.state, serials },
      });
      return { serials, records };
    });
    revocations.add(records);
    await this.#sites.reload(id);
    this.#removed(id);
    return serials;
  }
}
