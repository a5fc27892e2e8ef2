/** What a site does about envoys that come and go: its answers to the hub, and what it tells the hub over every new link. */
import type { RoleSite } from '../../role.ts';
import type { Answer, LinkSession } from '../link.ts';
import { Confirming, moveAnswers, type SiteMovesParts } from './moves.ts';
import { rosterAnswers, watchRoster } from './roster.ts';

export interface SiteOwning {
  readonly answers: readonly Answer[];
  /** a step of every new link */
  linked(hub: LinkSession): void;
}

/** Asks every envoy for an early check-in, spread over the time. */
async function pushAll({ parts, rest }: RoleSite, spreadMs: number): Promise<number> {
  const slots = [...parts.fleet.slots()].filter((slot) => parts.fleet.view(slot).active);
  const spread = async () => {
    for (const slot of slots) {
      parts.fleet.forcePush(slot);
      rest.push(parts.fleet.view(slot).id);
      await parts.clock.sleep(spreadMs / slots.length);
    }
  };
  void spread();
  return slots.length;
}

export function siteOwning(site: RoleSite): SiteOwning {
  const { store, clock, log, ownership, fleet, intake, identity } = site.parts;
  const moves: SiteMovesParts = {
    ownership,
    store,
    clock,
    log: log.component('moves'),
    random: Math.random,
    counts: () => {
      const live = [...fleet.slots()].filter((slot) => !fleet.view(slot).revoked);
      return Promise.resolve({ owned: live.length, pending: intake.pending });
    },
    push: (spreadMs) => pushAll(site, spreadMs),
  };
  const roster = { store, epoch: () => identity.epoch, clock };
  const confirming = new Confirming(moves);
  return {
    answers: [...moveAnswers(moves), ...rosterAnswers(roster)],
    linked: (hub) => {
      confirming.link(hub);
      watchRoster(roster, hub);
    },
  };
}
