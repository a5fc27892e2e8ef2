/** Audit of the whole fleet at the hub: its own log and the copies of its spokes' logs, merged by time when they are looked at, never as trees. */
import { listAudit } from '../core/api/audit.ts';
import type { SpokeStatusItem } from '../core/api/route.ts';
import { CodedError, messageOf } from '../core/base/errors.ts';
import { SYSTEM } from '../server/audit/record.ts';
import { type Handler, handler } from '../server/rest/handler.ts';
import { timeText } from '../server/rest/pages.ts';
import type { RoleSite } from '../server/role.ts';
import type { LinkSession } from '../server/spanner/link.ts';
import type { SiteAuditHead } from '../server/store/site-audit.ts';
import type { AuditFilter, AuditRow } from '../server/store/store.ts';
import { AuditCopies } from './audit-copies.ts';
import { mergePages, type Order, type Place, readPlaces, START, writePlaces } from './fan-out/merge.ts';

/** What is asked of the registry of sites. */
export interface AuditSites {
  /** spokes, the hub's own site left out */
  list(): readonly { readonly id: string; readonly session: LinkSession | undefined; readonly serverKey: string }[];
}

export interface HubAudit {
  readonly copies: AuditCopies;
  readonly handlers: readonly Handler[];
  /** a step of every new link */
  welcome(session: LinkSession): Promise<void>;
}

const EVERY_MS = 5_000;

/** Newest first; records of one site stay in the order of its log. */
const ORDER: Order = {
  compare: (a, b) => (a['time'] === b['time'] ? 0 : String(a['time']) > String(b['time']) ? -1 : 1),
  key: (row) => `${String(row['spoke'])} ${String(row['seq'])}`,
};

function itemOf(spoke: string, row: AuditRow) {
  const { seq, time, actor, event, target, record } = row;
  return { spoke, seq, time: timeText(time), actor, event, target, record: JSON.parse(record) as never };
}

export function createHubAudit({ parts }: Pick<RoleSite, 'parts'>, sites: AuditSites, everyMs = EVERY_MS): HubAudit {
  const { store, identity, clock, metrics, trail } = parts;
  const log = parts.log.component('audit');
  const copies = new AuditCopies({
    store,
    fleetId: identity.fleetId,
    keyOf(spoke) {
      const key = sites.list().find(({ id }) => id === spoke)?.serverKey ?? '';
      return key === '' ? undefined : Buffer.from(key, 'base64');
    },
    sessions: () => sites.list().flatMap(({ session }) => (session?.isOpen === true ? [session] : [])),
    fork(spoke, why) {
      const record = {
        actor: SYSTEM,
        event: 'audit.fork',
        target: { kind: 'spoke', id: spoke },
        outcome: 'failed' as const,
        data: { why: why.slice(0, 500) },
      };
      store
        .transaction((tx) => trail.record(tx, record))
        .catch((thrown: unknown) => log.error('a fork was not recorded', { error: messageOf(thrown) }));
    },
    metrics,
    clock,
    log,
    everyMs,
  });

  function statusOf(id: string, head: SiteAuditHead | undefined): SpokeStatusItem {
    const isOpen = sites.list().find((site) => site.id === id)?.session?.isOpen === true;
    const age = head === undefined || head.heardAt === 0 ? null : Math.max(0, Math.round((clock.now() - head.heardAt) / 1000));
    const fault = head?.fault ?? '';
    return {
      id,
      status: isOpen ? 'answered' : 'offline',
      age_s: age,
      ...(fault === '' ? {} : { error: `its audit log is not believed: ${fault}` }),
    };
  }

  const list = handler(listAudit, async ({ query }) => {
    const now = clock.now();
    const at = (text: string | undefined) => (text === undefined ? undefined : Date.parse(text));
    const filter: AuditFilter = {
      since: at(query.since),
      until: at(query.until),
      actor: query.actor,
      event: query.event,
      target: query.target,
    };
    const heads = new Map((await store.siteAudit.heads()).map((head) => [head.site, head]));
    const own = identity.siteId;
    // what a spoke did stays known when it is gone
    const all = [...new Set([own, ...sites.list().map(({ id }) => id), ...heads.keys()])];
    const asked = query.spoke === undefined ? all : all.filter((id) => id === query.spoke);
    if (asked.length === 0) throw new CodedError('NOT_FOUND', `no spoke ${query.spoke ?? ''}`);
    const places = query.cursor === undefined ? new Map<string, Place>() : readPlaces('audit.list', query.cursor, now);
    const pages = [];
    for (const id of asked) {
      const place = places.get(id) ?? START;
      if (place.done) continue;
      const from = { ...filter, before: place.cursor === null ? undefined : Number(place.cursor) };
      const limit = query.limit + place.consumed;
      const rows = id === own ? await store.audit.list(from, limit) : await store.siteAudit.list(id, from, limit);
      pages.push({
        site: id,
        items: rows.map((row) => itemOf(id, row)),
        nextCursor: rows.length < limit ? null : String(rows.at(-1)!.seq),
      });
    }
    const merged = mergePages(pages, new Map(asked.map((id) => [id, places.get(id) ?? START])), ORDER, query.limit);
    const spokes = asked.map((id): SpokeStatusItem => (id === own ? { id, status: 'answered', age_s: 0 } : statusOf(id, heads.get(id))));
    const complete = spokes.every(({ status, error }) => status === 'answered' && error === undefined);
    if (!complete && query.require_complete === true)
      throw new CodedError('INCOMPLETE', 'not all spokes are heard now', { details: { spokes } });
    const isOver = [...merged.places.values()].every(({ done }) => done);
    return { items: merged.items as never, next_cursor: isOver ? null : writePlaces('audit.list', merged.places, now), complete, spokes };
  });

  return {
    copies,
    handlers: [list],
    async welcome(session) {
      if (session.siteId === identity.siteId) return;
      // a long log takes its time: the link does not wait for it
      copies
        .pull(session)
        .catch((thrown: unknown) => log.warn('an audit log was not read', { spoke_id: session.siteId, error: messageOf(thrown) }));
      await Promise.resolve();
    },
  };
}
