/** The role spoke: a site that owns envoys below a hub. A stand-alone server is the same site without this. */
import { spannerStatus } from '../core/api/spanner.ts';
import { enrollHandler } from '../server/rest/enrollments.ts';
import { handler, replaceHandlers } from '../server/rest/handler.ts';
import type { SiteRole } from '../server/role.ts';
import type { LinkSession } from '../server/spanner/link.ts';
import { partyOf } from '../server/spanner/party.ts';
import { siteAnswers } from '../server/spanner/site/answers.ts';
import { heartbeatOf } from '../server/spanner/site/heartbeat.ts';
import { siteOwning } from '../server/spanner/site/owning.ts';
import { witnessedVerify } from './audit.ts';
import { SpokeEnrollment } from './enrollment.ts';
import { HubLink } from './hub-link.ts';
import { SpokePermits } from './permits.ts';
import { createSpokeReleases } from './releases.ts';
import { keepRenewed } from './renewal.ts';

export const spokeRole: SiteRole = async (site) => {
  const { parts, ownHandlers } = site;
  const { settings } = parts;
  let session: LinkSession | undefined;
  const releases = createSpokeReleases(site, () => session);
  const permits = new SpokePermits(parts, () => session);
  parts.tokens.permits = permits;
  const enrollment = new SpokeEnrollment(parts, () => session);
  const owning = siteOwning(site);
  const renewal = keepRenewed(parts, () => session);
  const heartbeat = heartbeatOf(parts);
  const link = new HubLink({
    server: parts,
    party: partyOf(parts),
    answers: [...siteAnswers({ site, hub: () => session }), ...owning.answers, ...releases.answers, ...permits.answers],
    tls: () => parts.tls(),
    facts: () => ({ ...heartbeat(), api_url: settings.server.public_url, advertise: parts.advertised }),
    heartbeat,
    welcomed: async ({ fenced }) => {
      // its envoys were given to others: nobody is served before the hub says otherwise
      if (typeof fenced === 'boolean' && fenced !== parts.ownership.isFenced) await parts.ownership.fence(fenced);
    },
    up: (fresh) => {
      session = fresh;
      renewal.check();
      fresh.onClose(() => {
        if (session === fresh) session = undefined;
      });
      owning.linked(fresh);
      permits.linked(fresh);
    },
    revoked: (reason) => parts.log.error('the hub says that this server is out', { code: 'REVOKED', reason }),
  });
  const status = handler(spannerStatus, () => {
    const { session: open, since, reason, address } = link.status;
    return {
      role: 'spoke' as const,
      site_id: parts.identity.siteId,
      hub: address === '' ? (settings.spanner.hub_addr?.[0] ?? '') : address,
      epoch: parts.identity.epoch,
      release: parts.releases.live?.number ?? 0,
      link: {
        state: open?.isOpen === true ? ('up' as const) : ('down' as const),
        since: new Date(since).toISOString(),
        reason,
        rtt_ms: open?.rttMs === undefined ? null : Math.round(open.rttMs * 10) / 10,
        clock_offset_ms: open?.clockOffsetMs ?? null,
      },
      spokes: [],
    };
  });
  const replaced = [status, ...witnessedVerify(ownHandlers, parts, () => session)];
  return {
    handlers: replaceHandlers(ownHandlers, [...replaced, enrollHandler(parts, enrollment)]),
    up: () => {
      link.start();
      return Promise.resolve();
    },
    stop: async () => {
      renewal.stop();
      await link.stop();
      await releases.stop();
    },
  };
};
