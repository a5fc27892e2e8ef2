/** The role hub: the site above the spokes. */
import type { JsonObject } from '../core/base/json.ts';
import type { Handler } from '../server/rest/handler.ts';
import type { SiteRole } from '../server/role.ts';
import type { Answer, LinkSession } from '../server/spanner/link.ts';
import { pairedSessions } from '../server/spanner/paired.ts';
import { partyOf } from '../server/spanner/party.ts';
import { siteAnswers } from '../server/spanner/site/answers.ts';
import { heartbeatOf } from '../server/spanner/site/heartbeat.ts';
import { siteOwning } from '../server/spanner/site/owning.ts';
import { createHubFleet, ownerIn } from './fleet.ts';
import { hubHandlers } from './handlers.ts';
import { Joins } from './join.ts';
import { HubLinks } from './links.ts';
import { createMoving, isFenced } from './moving.ts';
import { createHubReleases } from './releases.ts';
import { newSite, SiteRegistry } from './sites.ts';
import { Spokes } from './spokes.ts';
import { HubTrust } from './trust.ts';

/** Own handlers, with those of the hub in place of those of the same name. */
function replaced(own: readonly Handler[], hub: readonly Handler[]): readonly Handler[] {
  const names = new Set(hub.map(({ contract }) => contract.name));
  return [...own.filter(({ contract }) => !names.has(contract.name)), ...hub];
}

export const hubRole: SiteRole = async (site) => {
  const { parts, ownHandlers } = site;
  const { settings, clock, identity } = parts;
  const sites = await SiteRegistry.open(parts.store.sites, settings.spanner, clock);
  const joins = new Joins(parts, sites);
  const moving = createMoving(parts, sites);
  const releases = createHubReleases(site, {
    ids: () => sites.list().flatMap(({ id, own }) => (own ? [] : [id])),
    session: (spoke) => sites.session(spoke),
  });
  const fleet = createHubFleet(site, sites, ownerIn(parts.store.roster));
  const trust: HubTrust = new HubTrust(parts, sites, (siteId, reason) => links.drop(siteId, reason));
  /** kinds that sites may ask */
  const answers: readonly Answer[] = [...moving.answers, ...releases.answers, ...trust.answers];
  /** what happens with each fresh link, in this order */
  const steps: readonly ((session: LinkSession) => Promise<void>)[] = [
    (session) => trust.exchange(session),
    (session) => moving.linked(session),
    (session) => (session.siteId === identity.siteId ? Promise.resolve() : releases.welcome(session)),
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
  return {
    handlers: replaced(ownHandlers, [
      ...hubHandlers({ parts, sites, joins, spokes }),
      ...moving.handlers,
      ...releases.handlers,
      ...fleet.handlers,
    ]),
    up: async ({ rpcPort }) => {
      await moving.start();
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
      }
      await releases.start();
      links.start();
      parts.log.info('links of spokes are taken', { rpc_port: rpcPort, spokes: sites.list().filter((each) => !each.own).length });
    },
    stop: async () => {
      links.stop();
      await moving.stop();
      await releases.stop();
    },
  };
};
