/** A publisher over the parts of a running server. */
import { FLAG } from '../fleet/columns.ts';
import type { ServerParts } from '../parts.ts';
import { createConfigPort } from './config-port.ts';
import { Publisher } from './publisher.ts';
import type { PublisherParts } from './publisher-parts.ts';

export type PublishingServer = Pick<
  ServerParts,
  'paths' | 'identity' | 'store' | 'trail' | 'secrets' | 'clock' | 'log' | 'releases' | 'fleet' | 'settings'
>;

/** Names of the active envoys. */
export function* activeHostnames(fleet: ServerParts['fleet']): Generator<string> {
  for (let slot = 0; slot < fleet.size; slot++) if (((fleet.columns.flags[slot] ?? 0) & FLAG.active) !== 0) yield fleet.hostname(slot);
}

/** Releases go to the accepting threads through the release switch; call `publisher.start()` before the first check-in. */
export function openPublisher(parts: PublishingServer, more: Pick<PublisherParts, 'event' | 'gates' | 'onStep'> = {}) {
  const { paths, identity, store, trail, secrets, clock, log, releases, fleet, settings } = parts;
  const hostnames = () => activeHostnames(fleet);
  const publisher = new Publisher({
    paths,
    authority: identity,
    store,
    trail,
    secrets,
    clock,
    log: log.component('publish'),
    hostnames,
    onRelease: (release) => releases.use(release),
    serverNames: [settings.server.hostname],
    keepReleases: settings.publish.keep_releases,
    keepDays: settings.publish.keep_days,
    ...more,
  });
  return { publisher, config: createConfigPort({ publisher, stage: paths.stage, clock, hostnames }) };
}
