/** Releases of a spoke as a part of its role: what its hub offers is fetched, checked and served. */
import { failpoint } from '../server/failpoints.ts';
import { ReleaseReceiver } from '../server/publish/receive.ts';
import type { RoleSite } from '../server/role.ts';
import { FETCH_BYTES } from '../server/spanner/kinds/releases.ts';
import type { LinkSession } from '../server/spanner/link.ts';
import { createReleaseTaker, type ReleaseTaker } from '../server/spanner/site/releases.ts';

/** @param hub the open link, if there is one */
export function createSpokeReleases(
  { parts, publishing }: Pick<RoleSite, 'parts' | 'publishing'>,
  hub: () => LinkSession | undefined,
): ReleaseTaker {
  const { identity, store, clock, paths } = parts;
  const { publisher } = publishing;
  const log = parts.log.component('releases');
  const receiver = new ReleaseReceiver({
    publisher,
    authority: identity,
    revokedSerials: () => parts.revocations.serials,
    store,
    temp: paths.temp,
    batchBytes: FETCH_BYTES,
    onFetched: () => failpoint('release.fetched'),
    clock,
    log,
  });
  return createReleaseTaker({
    publisher,
    receiver,
    store,
    hub,
    event: (event, data) => log.error('event', { event, ...data }),
    clock,
    log,
    random: Math.random,
  });
}
