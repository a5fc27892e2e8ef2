/** Releases of a hub as a part of its role: the handlers of publishing, the step of a new link, and the rollouts. */
import { configStatus, publishConfig, type SpokeReleaseItem } from '../core/api/config.ts';
import { messageOf } from '../core/base/errors.ts';
import { SYSTEM } from '../server/audit/record.ts';
import { type Handler, handler } from '../server/rest/handler.ts';
import { timeText } from '../server/rest/pages.ts';
import type { RoleSite } from '../server/role.ts';
import type { Answer, LinkSession } from '../server/spanner/link.ts';
import type { RolloutRow } from '../server/store/rollouts.ts';
import { ConfigSync, type SpokeRelease } from './config-sync.ts';
import { Rollout, ringsOf } from './rollout.ts';

/** What is asked of the registry of sites. */
export interface SpokeLinks {
  /** ids of all spokes, with and without a link; the hub's own site is none */
  ids(): readonly string[];
  session(spoke: string): LinkSession | undefined;
}

export interface HubReleases {
  /** for every link */
  readonly answers: readonly Answer[];
  readonly sync: ConfigSync;
  /** a step of every new link */
  welcome(session: LinkSession): Promise<void>;
  /** in place of the site's own of these names */
  readonly handlers: readonly Handler[];
  /** links may come from here on */
  start(): Promise<void>;
  stop(): Promise<void>;
}

const TICK_MS = 1_000;
const LOAD_MS = 5 * 60_000;

function spokeItem(spoke: string, known: SpokeRelease | undefined): SpokeReleaseItem {
  const serving = known?.serving ?? null;
  return {
    spoke,
    state: known?.last?.state ?? (serving === null ? 'unknown' : 'loaded'),
    number: serving?.number ?? null,
    version: serving?.version ?? null,
    root: serving?.root ?? null,
    since: timeText(serving?.since ?? 0),
    lag: known?.lag ?? null,
    error: known?.last?.error ?? null,
    heard_at: timeText(known?.heardAt ?? 0),
    served_after_ms: known?.servedAfterMs ?? null,
    bytes: known?.bytes ?? null,
  };
}

function rolloutItem(row: RolloutRow): NonNullable<(typeof configStatus.reply)['_output']['rollout']> {
  return {
    number: row.number,
    state: row.state,
    ring: row.state === 'running' ? (row.rings[row.ring]?.name ?? null) : null,
    rings: row.rings.map(({ name }) => name),
    error: row.error === '' ? null : row.error,
    started_at: timeText(row.startedAt),
    changed_at: timeText(row.changedAt),
  };
}

export function createHubReleases(
  { parts, publishing, rest }: Pick<RoleSite, 'parts' | 'publishing' | 'rest'>,
  links: SpokeLinks,
): HubReleases {
  const { publisher, port } = publishing;
  const { store, clock, metrics, settings } = parts;
  const log = parts.log.component('releases');
  const sessions = () => links.ids().flatMap((id) => links.session(id) ?? []);
  const sync: ConfigSync = new ConfigSync({ publisher, store, sessions, allowed: (spoke) => rollout.allowed(spoke), metrics, clock, log });
  const rollout: Rollout = new Rollout({
    rollouts: store.rollouts,
    sync,
    session: (spoke) => links.session(spoke),
    live: () => publisher.live?.number ?? 0,
    revert: async (number, why) => {
      const { release } = await publisher.rollback({ author: 'system', actor: SYSTEM, number, message: why.slice(0, 500) });
      return release?.number ?? 0;
    },
    clock,
    log,
    tickMs: TICK_MS,
    loadMs: LOAD_MS,
  });
  publishing.onPublished(() => {
    rollout
      .superseded()
      .then(() => sync.offerAll())
      .catch((thrown: unknown) => log.error('a release was not offered', { error: messageOf(thrown) }));
  });
  const handlers: readonly Handler[] = [
    handler(configStatus, async () => {
      const known = new Map(sync.status().map((each) => [each.spoke, each]));
      const row = rollout.current;
      return {
        ...(await rest.config.status()),
        spokes: links.ids().map((id) => spokeItem(id, known.get(id))),
        rollout: row === undefined ? null : rolloutItem(row),
      };
    }),
    handler(publishConfig, async ({ body: { rings, ...body }, principal, requestId }) => {
      if (rings !== true) return port.publish(body, principal, requestId);
      const wanted = ringsOf(settings, (id) => links.ids().includes(id));
      if (body.dry_run === true) return port.publish(body, principal, requestId);
      return rollout.publish(wanted, () => port.publish(body, principal, requestId));
    }),
  ];
  return {
    answers: sync.answers,
    sync,
    async welcome(session) {
      if (session.siteId === parts.identity.siteId) return;
      try {
        await sync.offer(session);
      } catch (thrown) {
        // the link stays: there is more to it than releases
        log.warn('a release could not be offered', { spoke_id: session.siteId, error: messageOf(thrown) });
      }
    },
    handlers,
    start: () => rollout.resume(),
    stop: () => rollout.stop(),
  };
}
