/** The spokes of a hub: from server.yaml and from `spoke add`, with the open session of each. */
import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/errors.ts';
import type { JsonObject } from '../core/base/json.ts';
import type { Settings } from '../server/settings.ts';
import type { LinkSession } from '../server/spanner/link.ts';
import type { SiteRow, SiteStore } from '../server/store/site-row.ts';
import type { Tables } from '../server/store/store.ts';

export type { SiteRow } from '../server/store/site-row.ts';

/** How the link to a site stands now. */
export interface SiteLink {
  readonly session: LinkSession | undefined;
  /** when the link came up or went down, milliseconds since 1970; 0: never up */
  readonly since: number;
  /** why it went down */
  readonly reason: string;
  /** what the site said at its last heartbeat */
  readonly heartbeat: JsonObject;
  readonly heartbeatAt: number;
  readonly clockOffsetMs: number | undefined;
}

export type SiteState = SiteRow & { readonly own: boolean; readonly link: SiteLink };

type SessionListener = (session: LinkSession) => Promise<void>;
type Change = Partial<Omit<SiteRow, 'id'>>;

export interface Sites {
  /** in the order of routing: server.yaml first, then as they were added; removed ones left out */
  list(): readonly SiteState[];
  get(siteId: string): SiteState | undefined;
  /** the open one */
  session(siteId: string): LinkSession | undefined;
  /** called for each session once its welcome is sent, in the order of registration, one after the other; a throw closes the session */
  onSession(listener: SessionListener): void;
  /** called when a link went down */
  onDown(listener: (siteId: string, reason: string) => void): void;
  /** Changes the stored row; give `tx` inside a transaction. @throws CodedError NOT_FOUND */
  change(siteId: string, change: Change, tx?: Pick<Tables, 'sites'>): Promise<void>;
  add(row: SiteRow, tx?: Pick<Tables, 'sites'>): Promise<void>;
}

const NEVER: SiteLink = { session: undefined, since: 0, reason: '', heartbeat: {}, heartbeatAt: 0, clockOffsetMs: undefined };

export function newSite(id: string, source: SiteRow['source'], now: number): SiteRow {
  return {
    id,
    source,
    addr: '',
    apiUrl: '',
    fallback: [],
    patterns: [],
    weight: 100,
    labels: {},
    state: 'joining',
    createdAt: now,
    stateAt: now,
    epoch: 1,
    serverId: '',
    serverKey: '',
    delegation: '',
    ca: '',
    join: { hash: '', expiresAt: 0, spentAt: 0, answer: '' },
    lastSeen: 0,
  };
}

export class SiteRegistry implements Sites {
  readonly #store: SiteStore;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #rows = new Map<string, SiteRow>();
  readonly #links = new Map<string, SiteLink>();
  readonly #onSession: SessionListener[] = [];
  readonly #onState: ((siteId: string) => void)[] = [];
  readonly #onDown: ((siteId: string, reason: string) => void)[] = [];
  #own: { readonly row: SiteRow; readonly session: LinkSession; figures(): JsonObject } | undefined;

  private constructor(store: SiteStore, clock: Pick<Clock, 'now'>) {
    this.#store = store;
    this.#clock = clock;
  }

  /** @throws CodedError DUPLICATE_SPOKE when server.yaml and the database both define one */
  static async open(store: SiteStore, settings: Settings['spanner'], clock: Pick<Clock, 'now'>): Promise<SiteRegistry> {
    const registry = new SiteRegistry(store, clock);
    const described = new Set(settings.spokes.map(({ id }) => id));
    for (const row of await store.list()) {
      // one that server.yaml no longer describes is kept, and can be changed and removed by command
      const source = row.source === 'settings' && !described.has(row.id) ? 'database' : row.source;
      registry.#rows.set(row.id, { ...row, source });
    }
    for (const { id, addr, fallback, patterns, weight, labels } of settings.spokes) {
      const known = registry.#rows.get(id);
      if (known?.source === 'database' && known.state !== 'removed')
        throw new CodedError('DUPLICATE_SPOKE', `the spoke ${id} stands in server.yaml and was added with "spoke add" too`, {
          hint: 'take it out of spanner.spokes, or remove it with "vigocli spanner spoke remove"',
        });
      const row = {
        ...(known ?? newSite(id, 'settings', clock.now())),
        source: 'settings' as const,
        addr,
        fallback,
        patterns,
        weight,
        labels,
      };
      await store.put(row);
      registry.#rows.set(id, row);
    }
    return registry;
  }

  /** The hub's own envoys: a site that is asked like any other. */
  addOwn(row: SiteRow, session: LinkSession, figures: () => JsonObject): void {
    this.#own = { row, session, figures };
  }

  list(): readonly SiteState[] {
    const rows = [...this.#rows.values()].filter(({ state }) => state !== 'removed');
    const ordered = [...rows.filter(({ source }) => source === 'settings'), ...rows.filter(({ source }) => source === 'database')];
    const own = this.#own === undefined ? [] : [this.get(this.#own.row.id)!];
    return [...own, ...ordered.map((row) => this.#stateOf(row))];
  }

  get(siteId: string): SiteState | undefined {
    if (this.#own?.row.id === siteId) {
      const now = this.#clock.now();
      return {
        ...this.#own.row,
        own: true,
        link: { ...NEVER, session: this.#own.session, since: this.#own.row.createdAt, heartbeatAt: now },
      };
    }
    const row = this.#rows.get(siteId);
    return row === undefined ? undefined : this.#stateOf(row);
  }

  #stateOf(row: SiteRow): SiteState {
    return { ...row, own: false, link: this.#links.get(row.id) ?? NEVER };
  }

  session(siteId: string): LinkSession | undefined {
    const session = this.#own?.row.id === siteId ? this.#own.session : this.#links.get(siteId)?.session;
    return session?.isOpen === true ? session : undefined;
  }

  onSession(listener: SessionListener): void {
    this.#onSession.push(listener);
  }

  /** called when a site begins or ends to take envoys */
  onState(listener: (siteId: string) => void): void {
    this.#onState.push(listener);
  }

  onDown(listener: (siteId: string, reason: string) => void): void {
    this.#onDown.push(listener);
  }

  async change(siteId: string, change: Change, tx?: Pick<Tables, 'sites'>): Promise<void> {
    const stored = await (tx?.sites ?? this.#store).update(siteId, change);
    const row = this.#rows.get(siteId);
    if (!stored || row === undefined) throw new CodedError('NOT_FOUND', `no spoke ${siteId.slice(0, 40)}`);
    this.#rows.set(siteId, { ...row, ...change });
    if (change.state !== undefined && change.state !== row.state) for (const listener of this.#onState) listener(siteId);
  }

  async add(row: SiteRow, tx?: Pick<Tables, 'sites'>): Promise<void> {
    await (tx?.sites ?? this.#store).put(row);
    this.#rows.set(row.id, row);
  }

  /** Reads a row again, after somebody changed it in a transaction of his own. */
  async reload(siteId: string): Promise<void> {
    const row = await this.#store.byId(siteId);
    if (row !== undefined) this.#rows.set(siteId, row);
  }

  // ---- the links, told by hub/links.ts ------------------------------------------------------------------------------
  async up(session: LinkSession, facts: JsonObject): Promise<void> {
    const { siteId } = session;
    const before = this.#links.get(siteId)?.session;
    this.#links.set(siteId, { ...NEVER, session, since: this.#clock.now(), heartbeat: facts, heartbeatAt: this.#clock.now() });
    before?.close('a newer link of the site took its place');
    for (const listener of this.#onSession) {
      try {
        await listener(session);
      } catch (thrown) {
        // a site of the release before does without what it does not know yet
        if (!(thrown instanceof CodedError) || thrown.code !== 'UNIMPLEMENTED') throw thrown;
      }
    }
  }

  beat(session: LinkSession, heartbeat: JsonObject, clockOffsetMs: number | undefined): void {
    const link = this.#links.get(session.siteId);
    if (link?.session !== session) return;
    this.#links.set(session.siteId, { ...link, heartbeat, heartbeatAt: this.#clock.now(), clockOffsetMs });
  }

  down(session: LinkSession, reason: string): void {
    const link = this.#links.get(session.siteId);
    if (link?.session !== session) return;
    this.#links.set(session.siteId, { ...link, session: undefined, since: this.#clock.now(), reason });
    for (const listener of this.#onDown) listener(session.siteId, reason);
  }
}
