/** A site's side of the roster: answers its log of changed envoys, and tells the hub when there is more. */
import type { Clock } from '../../../core/base/clock.ts';
import type { EnvoyId } from '../../../core/base/ids.ts';
import type { SignedGrant } from '../../../core/policy/ownership.ts';
import type { Store } from '../../store/store.ts';
import { toTravelling } from '../identity-record.ts';
import { type RosterEntry, rosterChanged, rosterPull } from '../kinds/roster.ts';
import { type Answer, answers, type LinkSession } from '../link.ts';

export interface SiteRosterParts {
  readonly store: Pick<Store, 'envoys' | 'ownerships' | 'rosterLog'>;
  /** of this server */
  readonly epoch: () => number;
  readonly clock: Clock;
  /** how often the log is looked at while a link is up */
  readonly everyMs?: number | undefined;
}

async function entryOf({ store }: SiteRosterParts, envoyId: EnvoyId, seq: number): Promise<RosterEntry> {
  const held = await store.ownerships.of(envoyId);
  const grant = held === undefined || held.grant === '' ? null : (JSON.parse(held.grant) as SignedGrant);
  // one that comes back is still led away by its former grant
  if (grant !== null && (held?.state === 'departed' || held?.state === 'arriving'))
    return { envoy_id: envoyId, seq, state: 'departed', owner_epoch: 0, grant, identity: null };
  const envoy = await store.envoys.byId(envoyId);
  if (envoy === undefined) return { envoy_id: envoyId, seq, state: 'removed', owner_epoch: 0, grant: null, identity: null };
  return { envoy_id: envoyId, seq, state: 'owned', owner_epoch: envoy.ownerEpoch, grant, identity: toTravelling(envoy) };
}

export function rosterAnswers(parts: SiteRosterParts): readonly Answer[] {
  return [
    answers(rosterPull, async ({ epoch, after, limit }) => {
      const head = await parts.store.rosterLog.head();
      // another life of this site, or one that was put back: numbers mean something else now
      const anew = after > 0 && (epoch !== parts.epoch() || after > head);
      const changed = await parts.store.rosterLog.list(anew ? 0 : after, limit);
      const entries = [];
      for (const { envoyId, seq } of changed) entries.push(await entryOf(parts, envoyId, seq));
      const through = entries.at(-1)?.seq ?? (anew ? 0 : after);
      return { epoch: parts.epoch(), anew, entries, through, complete: changed.length < limit };
    }),
  ];
}

/** Tells the hub of changes until the link closes. */
export function watchRoster(parts: SiteRosterParts, hub: LinkSession): void {
  const end = new AbortController();
  hub.onClose(() => end.abort());
  const watch = async () => {
    let told = -1;
    while (!end.signal.aborted) {
      const seq = await parts.store.rosterLog.head();
      if (seq !== told) {
        await hub.request(rosterChanged, { seq });
        told = seq;
      }
      await parts.clock.sleep(parts.everyMs ?? 500, end.signal);
    }
  };
  const again = async (): Promise<void> => {
    while (!end.signal.aborted) {
      // whatever failed is in the log still: it is told at the next look
      await watch().catch(() => parts.clock.sleep(parts.everyMs ?? 500, end.signal));
    }
  };
  void again();
}
