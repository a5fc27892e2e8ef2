/** A site's side of the roster: answers its log of changed envoys, and tells the hub when there is more. */
import type { Clock } from '../../../core/base/clock.ts';
import type { EnvoyId } from '../../../core/base/ids.ts';
import type { SignedGrant } from '../../../core/policy/ownership.ts';
import type { EnvoyIdentity, Store } from '../../store/store.ts';
import type { Identity } from '../identity-record.ts';
import { type RosterEntry, rosterChanged, rosterPull } from '../kinds/roster.ts';
import { type Answer, answers, type LinkSession } from '../link.ts';

/** What the roster needs to know of ownership. */
export interface OwnershipFacts {
  /** of an envoy that left: who owns it now */
  departedGrant(envoyId: EnvoyId): Promise<SignedGrant | undefined>;
  /** by which this site owns it; none where it enrolled here */
  grantOf(envoyId: EnvoyId): Promise<SignedGrant | undefined>;
}

export interface SiteRosterParts {
  readonly store: Pick<Store, 'envoys' | 'rosterLog'>;
  readonly ownership: OwnershipFacts;
  /** of this server */
  readonly epoch: () => number;
  readonly clock: Clock;
  /** how often the log is looked at while a link is up */
  readonly everyMs?: number | undefined;
}

export function identityOf(envoy: EnvoyIdentity): Identity {
  return {
    envoy_id: envoy.id,
    hostname: envoy.hostname,
    identity_key: Buffer.from(envoy.identityKey).toString('base64'),
    sealing_key: Buffer.from(envoy.sealingKey).toString('base64'),
    status: envoy.status,
    labels: envoy.labels,
    enrolled_at: envoy.enrolledAt,
    certificate_expires_at: envoy.certificateExpiresAt,
    platform: envoy.platform,
    agent_version: envoy.agentVersion,
    address: envoy.address,
    reason: envoy.reason,
  };
}

async function entryOf(parts: SiteRosterParts, envoyId: EnvoyId, seq: number): Promise<RosterEntry> {
  const { store, ownership } = parts;
  const departed = await ownership.departedGrant(envoyId);
  if (departed !== undefined) return { envoy_id: envoyId, seq, state: 'departed', owner_epoch: 0, grant: departed, identity: null };
  const envoy = await store.envoys.byId(envoyId);
  if (envoy === undefined) return { envoy_id: envoyId, seq, state: 'removed', owner_epoch: 0, grant: null, identity: null };
  const grant = envoy.ownerEpoch > 1 ? await ownership.grantOf(envoyId) : undefined;
  return { envoy_id: envoyId, seq, state: 'owned', owner_epoch: envoy.ownerEpoch, grant: grant ?? null, identity: identityOf(envoy) };
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
