/** Publishing of a running server: the publisher on the server's parts, its API side, and the poll that notices rotated secrets. */
import { messageOf } from '../../core/base/errors.ts';
import { FLAG } from '../fleet/columns.ts';
import type { ServerParts } from '../parts.ts';
import type { ConfigPort } from '../rest/parts.ts';
import { createConfigPort } from './config-port.ts';
import { Publisher } from './publisher.ts';

export interface Publishing {
  readonly port: ConfigPort;
  stop(): Promise<void>;
}

/** Loads the live release, if there is one, and hands it to the accepting threads. @throws CodedError SECRET_MISSING, SECRETS_UNAVAILABLE, RELEASE_INVALID */
export async function openPublishing(parts: ServerParts): Promise<Publishing> {
  const { fleet, settings, metrics, clock } = parts;
  const log = parts.log.component('publish');
  function* hostnames(): Iterable<string> {
    for (const slot of fleet.slots()) if ((fleet.columns.flags[slot]! & FLAG.active) !== 0) yield fleet.hostname(slot);
  }
  const publisher = new Publisher({
    paths: parts.paths,
    authority: parts.identity,
    store: parts.store,
    trail: parts.trail,
    secrets: parts.secrets,
    clock,
    log,
    hostnames,
    onRelease: async (release) => {
      await parts.releases.use(release);
      metrics.set('vigo_release_number', release.number);
      for (const { body } of release.entries.values()) metrics.observe('vigo_bundle_size_bytes', body.length);
    },
    event: (name, data) => log.info('event', { event: name, ...data }),
    serverNames: [settings.server.hostname],
    keepReleases: settings.publish.keep_releases,
    keepDays: settings.publish.keep_days,
  });
  const begun = clock.monotonic();
  const release = await publisher.start();
  log.info('start step done', { step: 'live release', ms: Math.round(clock.monotonic() - begun), release: release?.number ?? 0 });
  const poll = setInterval(() => {
    publisher.refreshSecrets().catch((thrown: unknown) => log.warn('the secrets could not be compared', { error: messageOf(thrown) }));
  }, settings.secrets.poll);
  poll.unref();
  return {
    port: createConfigPort({ publisher, stage: parts.paths.stage, clock, hostnames }),
    stop: async () => {
      clearInterval(poll);
      await publisher.stop();
    },
  };
}
