/** The role hub: the site above the spokes. */

import type { JsonObject } from '../core/base/json.ts';
import { enrollHandler } from '../server/rest/enrollments.ts';
import { replaceHandlers } from '../server/rest/handler.ts';
import type { SiteRole } from '../server/role.ts';
import type { Answer, LinkSession } from '../server/spanner/link.ts';
import { pairedSessions } from '../server/spanner/paired.ts';
import { partyOf } from '../server/spanner/party.ts';
import { siteAnswers } from '../server/spanner/site/answers.ts';
import { heartbeatOf } from '../server/spanner/site/heartbeat.ts';
import { siteOwning } from '../server/spanner/site/owning.ts';
import { createHubAudit } from './audit.ts';
import { doctorHandler } from './doctor.ts';
import { HubEnrollment } from './enrollment.ts';
import { createHubFleet, ownerIn } from './fleet.ts';
import { hubHandlers } from './handlers.ts';
import { Joins } from './join.ts';
import { HubLinks } from './links.ts';
import { observeSpokes } from './metrics.ts';
import { createMoving, isFenced } from './moving.ts';
import { HubPermits } from './permits.ts';
import { createHubReleases } from './releases.ts';
import { identityIn } from './roster.ts';
import { newSite, SiteRegistry } from './sites.ts';
import { Spokes } from './spokes.ts';
import { HubTrust } from './trust.ts';

export const hubRole: SiteRole = async (site) => {
  const { parts, ownHandlers } = site;
  const { settings, clock, identity } = parts;
  const sites = await SiteRegistry.open(parts.store.sites, settings.spanner, clock);
  observeSpokes(parts.metrics, sites);
  const joins = new Joins(parts, sites);
  const moving = createMoving(parts, sites);
  const releases = createHubReleases(site, {
    ids: () => sites.list().flatMap(({ id, own }) => (own ? [] : [id])),
    session: (spoke) => sites.session(spoke),
  });
  const fleet = createHubFleet(site, sites, ownerIn(parts.store.roster));
  const audit = createHubAudit(site, {
    list: () => sites.list().flatMap(({ id, own, serverKey, link }) => (own ? [] : [{ id, serverKey, session: link.session }])),
  });
  const trust: HubTrust = new HubTrust(parts, sites, (siteId, reason) => links.drop(siteId, reason));
  const takenBy = async (hostname: string) =>
    (await parts.store.roster.byHostname(hostname)).map((row) => ({
      siteId: row.ownerSite,
      identityKey: Buffer.from(identityIn(row)?.identity_key ?? '', 'base64'),
      placed: row.grant !== '' || row.ownerSite === identity.siteId,
    }));
  const enrollment = new HubEnrollment({ ...parts, sites, takenBy, assertCaughtUp: () => moving.mover.sequence.assertCaughtUp() });
  const permits = new HubPermits(parts, { ids: () => sites.list().map(({ id }) => id), session: (siteId) => sites.session(siteId) });
  /** kinds that sites may ask */
  const answers: readonly Answer[] = [
    ...moving.answers,
    ...releases.answers,
    ...trust.answers,
    ...audit.copies.answers,
    ...enrollment.answers,
    ...permits.answers,
  ];
  /** what happens with each fresh link, in this order */
  const steps: readonly ((session: LinkSession) => Promise<void>)[] = [
    (session) => trust.exchange(session),
    (session) => moving.linked(session),
    (session) => (session.siteId === identity.siteId ? Promise.resolve() : releases.welcome(session)),
    (session) => audit.welcome(session),
    (session) => permits.linked(session),
  ];
  /** what the signed welcome adds */
  const welcome = (siteId: string): Promise<JsonObject> => Promise.resolve({ fenced: isFenced(sites, siteId) });
  for (const step of steps) sites.onSession(step);
  const links: HubLinks = new HubLinks({
    server: parts,
    sites,
    party: partyOf(parts),
    answers,
    welcome,
    certificate: () => parts.tls().certificateChain,
  });
  const spokes = new Spokes(parts, sites, (siteId) => links.drop(siteId, 'the spoke was removed'));
  let endOwn: () => void = () => undefined;
  return {
    handlers: replaceHandlers(ownHandlers, [
      ...hubHandlers({ parts, sites, joins, spokes }),
      doctorHandler(parts, sites),
      ...moving.handlers,
      ...releases.handlers,
      ...fleet.handlers,
      ...audit.handlers,
      enrollHandler(parts, enrollment),
    ]),
    up: async ({ rpcPort }) => {
      await moving.start();
      permits.start();
      if (settings.spanner.own_envoys) {
        const own = {
          ...newSite(identity.siteId, 'settings', clock.now()),
          state: 'active' as const,
          addr: parts.advertised,
          apiUrl: settings.server.public_url,
          epoch: identity.epoch,
        };
        let toHub: LinkSession | undefined;
        const owning = siteOwning(site);
        const ownAnswers = [...siteAnswers({ site, hub: () => toHub }), ...owning.answers];
        const [toOwn, back] = pairedSessions({ siteId: identity.siteId, answers }, { siteId: identity.siteId, answers: ownAnswers });
        toHub = back;
        sites.addOwn(own, toOwn, heartbeatOf(parts));
        for (const step of steps) await step(toOwn);
        owning.linked(back);
        endOwn = () => toOwn.close('the hub is stopping');
      }
      await releases.start();
      audit.copies.start();
      links.start();
      parts.log.info('links of spokes are taken', { rpc_port: rpcPort, spokes: sites.list().filter((each) => !each.own).length });
    },
    stop: async () => {
      links.stop();
      permits.stop();
      endOwn();
      await moving.stop();
      await releases.stop();
      await audit.copies.stop();
    },
  };
};
