/** Publishing of a running server: the publisher on the server's parts, its API side, and the poll that notices rotated secrets. */
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import { failpoint } from '../failpoints.ts';
import { FLAG } from '../fleet/columns.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { ServerParts } from '../parts.ts';
import type { ConfigPort } from '../rest/parts.ts';
import { createConfigPort } from './config-port.ts';
import { Publisher } from './publisher.ts';

export interface Publishing {
  readonly port: ConfigPort;
  readonly publisher: Publisher;
  /** called after each publish and rollback of this server */
  onPublished(listener: () => void): void;
  stop(): Promise<void>;
}

type Result = Awaited<ReturnType<ConfigPort['publish']>>;

/** Counts publishes and rollbacks, their findings and how long they took. */
function measured(port: ConfigPort, metrics: Metrics, clock: Clock): ConfigPort {
  const watch = async (done: 'live' | 'rolled_back', work: Promise<Result>): Promise<Result> => {
    const begun = clock.monotonic();
    try {
      const result = await work;
      metrics.observe('vigo_publish_duration_seconds', (clock.monotonic() - begun) / 1000, { step: 'total' });
      for (const { severity } of result.findings) metrics.count('vigo_publish_findings_total', 1, { severity });
      if (result.status !== 'dry_run')
        metrics.count('vigo_publishes_total', 1, { result: result.status === 'live' ? done : result.status });
      return result;
    } catch (thrown) {
      metrics.count('vigo_publishes_total', 1, {
        result: thrown instanceof CodedError && thrown.code === 'VALIDATION_FAILED' ? 'refused' : 'failed',
      });
      throw thrown;
    }
  };
  return {
    ...port,
    publish: (options, author, requestId) => watch('live', port.publish(options, author, requestId)),
    rollback: (options, author, requestId) => watch('rolled_back', port.rollback(options, author, requestId)),
  };
}

/** Loads the live release, if there is one, and hands it to the accepting threads. @throws CodedError SECRET_MISSING, SECRETS_UNAVAILABLE, RELEASE_INVALID */
export async function openPublishing(parts: ServerParts): Promise<Publishing> {
  const { fleet, settings, metrics, clock } = parts;
  const log = parts.log.component('publish');
  function* hostnames(): Iterable<string> {
    for (const slot of fleet.slots()) if ((fleet.columns.flags[slot]! & FLAG.active) !== 0) yield fleet.hostname(slot);
  }
  const listeners: (() => void)[] = [];
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
      metrics.set('vigo_secrets_epoch', Math.max(0, ...[...release.entries.values()].map(({ secretsEpoch }) => secretsEpoch)));
      for (const { body } of release.entries.values()) metrics.observe('vigo_bundle_size_bytes', body.length);
    },
    event: (name, data) => {
      log.info('event', { event: name, ...data });
      if (name === 'config.published') for (const listener of listeners) listener();
    },
    hub: settings.spanner.role === 'spoke' ? settings.spanner.hub_addr?.[0] : undefined,
    onStep: (step) => {
      if (settings.spanner.role !== 'spoke') return;
      if (step === 'written') failpoint('release.written');
      else if (step === 'swapped') failpoint('release.swapped');
    },
    serverNames: [settings.server.hostname],
    keepReleases: settings.publish.keep_releases,
    keepDays: settings.publish.keep_days,
  });
  const begun = clock.monotonic();
  const release = await publisher.start();
  log.info('start step done', { step: 'live release', ms: Math.round(clock.monotonic() - begun), release: release?.number ?? 0 });
  const poll = setInterval(() => {
    const provider = settings.secrets.backend;
    publisher.refreshSecrets().then(
      () => metrics.set('vigo_secrets_provider_up', 1, { provider }),
      (thrown: unknown) => {
        metrics.set('vigo_secrets_provider_up', 0, { provider });
        log.warn('the secrets could not be compared', { error: messageOf(thrown) });
      },
    );
  }, settings.secrets.poll);
  poll.unref();
  // the thread that compiles loads its code now, not in the first publish
  publisher.thread
    .ask('rootOf', { directory: parts.paths.stage })
    .catch((thrown: unknown) => log.debug('no stage to look at yet', { error: messageOf(thrown) }));
  return {
    port: measured(createConfigPort({ publisher, stage: parts.paths.stage, clock, hostnames }), metrics, clock),
    publisher,
    onPublished: (listener) => listeners.push(listener),
    stop: async () => {
      clearInterval(poll);
      await publisher.stop();
    },
  };
}
