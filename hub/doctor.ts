/** The doctor of a hub looks at its spokes as well. */
import { getDoctor } from '../core/api/server.ts';
import { type Check, doctorReply, examine } from '../server/observe/doctor.ts';
import type { ServerParts } from '../server/parts.ts';
import { type Handler, handler } from '../server/rest/handler.ts';
import type { SiteRegistry } from './sites.ts';
import { spokeItem } from './spokes.ts';

function spokesCheck(sites: SiteRegistry, now: number): Check {
  const spokes = sites.list().filter(({ own, state }) => !own && state !== 'removed');
  const silent = spokes.map((site) => spokeItem(site, now)).filter(({ link }) => link.state === 'down');
  if (silent.length === 0) return { name: 'spokes', status: 'ok', message: `none of ${spokes.length} is unreachable` };
  const named = silent.map(({ id, link }) => `${id} unreachable since ${link.since ?? 'ever'}`).join(', ');
  return {
    name: 'spokes',
    status: 'warn',
    message: `${silent.length} of ${spokes.length}: ${named}`,
    hint: `vigocli spanner spoke show ${silent[0]!.id}; one that is dead for good: vigocli spanner spoke evacuate ${silent[0]!.id}`,
  };
}

export function doctorHandler(parts: ServerParts, sites: SiteRegistry): Handler {
  return handler(getDoctor, async () => doctorReply([...(await examine(parts)), spokesCheck(sites, parts.clock.now())]));
}
