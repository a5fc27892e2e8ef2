/** A hub and a spoke with real publishers, stores and keys, joined by sessions in one process; the link can be cut and watched. */
import { systemClock } from '../../core/base/clock.ts';
import { DELEGATION_SCOPES, SPOKE_SCOPES, signDelegation } from '../../core/crypto/delegation.ts';
import { keyIdOf, type SigningKey, signingKeyFromSeed } from '../../core/crypto/ed25519.ts';
import { ConfigSync, type ConfigSyncParts } from '../../hub/config-sync.ts';
import { FleetIndex } from '../../server/fleet/fleet-index.ts';
import type { ReleaseAuthority } from '../../server/publish/manifest-signature.ts';
import type { PublisherParts } from '../../server/publish/publisher-parts.ts';
import { ReleaseReceiver } from '../../server/publish/receive.ts';
import { FETCH_BYTES } from '../../server/spanner/kinds/releases.ts';
import type { Answer, LinkSession, Reply } from '../../server/spanner/link.ts';
import { pairedSessions } from '../../server/spanner/paired.ts';
import { answerReleaseHealth } from '../../server/spanner/site/release-health.ts';
import { createReleaseTaker, type ReleaseTaker } from '../../server/spanner/site/releases.ts';
import { quietLog } from '../fakes/quiet-log.ts';
import { openPublishing, type Publishing } from './publishing.ts';

const FLEET = '01980000-0000-7000-8000-000000000001';

/** Keys of one site of the fleet whose root key is `root`. */
export function siteAuthority(
  site: string,
  root: SigningKey = signingKeyFromSeed(Buffer.alloc(32, 1)),
  seed = site.charCodeAt(0),
): ReleaseAuthority {
  const serverKey = signingKeyFromSeed(Buffer.alloc(32, seed));
  const delegation = signDelegation(root, {
    fleet_id: FLEET,
    site_id: site,
    server_id: FLEET,
    public_key: Buffer.from(serverKey.publicKey).toString('base64'),
    scopes: site === 'hub' ? [...DELEGATION_SCOPES] : [...SPOKE_SCOPES],
    epoch: 1,
    may_promote: true,
    not_before: 0,
    not_after: 4_000_000_000_000,
    serial: `${site}-1`,
  });
  return { fleetId: FLEET, epoch: 1, rootPublicKey: root.publicKey, serverKey, keyId: keyIdOf(serverKey.publicKey), delegation };
}

export interface SpokeEnd extends Publishing {
  readonly id: string;
  readonly taker: ReleaseTaker;
  readonly receiver: ReleaseReceiver;
  readonly fleet: FleetIndex;
  /** set while a link is up */
  hub: LinkSession | undefined;
}

/** What goes over the link, and what may be done to it on the way. */
export interface Tap {
  bytes: number;
  asked: Map<string, number>;
  /** may change an answer, throw, or cut the link */
  onReply?: ((kind: string, reply: Reply<unknown>) => Reply<unknown> | Promise<Reply<unknown>>) | undefined;
}

export function tapped(answers: readonly Answer[], tap: Tap): readonly Answer[] {
  return answers.map((each) => ({
    kind: each.kind,
    async answer(request, asked) {
      tap.asked.set(each.kind.name, (tap.asked.get(each.kind.name) ?? 0) + 1);
      let reply = await each.answer(request, asked);
      if (tap.onReply !== undefined) reply = await tap.onReply(each.kind.name, reply);
      tap.bytes += JSON.stringify(request).length + JSON.stringify(reply.body).length + (reply.data?.byteLength ?? 0);
      return reply;
    },
  }));
}

export async function openSpoke(
  directory: string,
  id: string,
  more: Partial<PublisherParts> = {},
  revokedSerials: ReadonlySet<string> = new Set(),
  onFetched: () => void = () => undefined,
): Promise<SpokeEnd> {
  const authority = siteAuthority(id);
  const publishing = await openPublishing(directory, { authority, hub: 'hub.example.com:1530', ...more });
  await publishing.publisher.start();
  const { publisher, store } = publishing;
  const fleet = new FleetIndex();
  const receiver = new ReleaseReceiver({
    publisher,
    authority,
    revokedSerials: () => revokedSerials,
    store,
    temp: `${directory}/tmp`,
    batchBytes: FETCH_BYTES,
    onFetched,
    clock: systemClock,
    log: quietLog(),
  });
  const end: { hub: LinkSession | undefined } = { hub: undefined };
  const taker = createReleaseTaker({
    publisher,
    receiver,
    store,
    hub: () => end.hub,
    event: (name) => publishing.events.push(name),
    clock: systemClock,
    log: quietLog(),
    random: Math.random,
    retry: { firstMs: 20, maxMs: 50 },
  });
  return Object.assign(end, publishing, {
    id,
    receiver,
    taker,
    fleet,
    stop: async () => {
      end.hub?.close('the spoke stops');
      await taker.stop();
      await publishing.stop();
    },
  });
}

export interface HubEnd extends Publishing {
  readonly sync: ConfigSync;
  readonly sessions: Set<LinkSession>;
  /** makes a link and offers what there is */
  link(spoke: SpokeEnd, tap?: Tap): Promise<LinkSession>;
}

export async function openHub(directory: string, more: Partial<ConfigSyncParts> = {}, own: Partial<PublisherParts> = {}): Promise<HubEnd> {
  const publishing = await openPublishing(directory, { authority: siteAuthority('hub'), ...own });
  await publishing.publisher.start();
  const sessions = new Set<LinkSession>();
  const sync = new ConfigSync({
    publisher: publishing.publisher,
    store: publishing.store,
    sessions: () => sessions,
    clock: systemClock,
    log: quietLog(),
    ...more,
  });
  return {
    ...publishing,
    sync,
    sessions,
    async link(spoke, tap = { bytes: 0, asked: new Map() }) {
      const [toSpoke, toHub] = pairedSessions(
        { siteId: 'hub', answers: tapped(sync.answers, tap) },
        {
          siteId: spoke.id,
          answers: tapped(
            [...spoke.taker.answers, answerReleaseHealth({ fleet: spoke.fleet, serving: () => spoke.publisher.live?.number ?? 0 })],
            tap,
          ),
        },
      );
      spoke.hub = toHub;
      sessions.add(toSpoke);
      toSpoke.onClose(() => sessions.delete(toSpoke));
      await sync.offer(toSpoke);
      return toSpoke;
    },
  };
}
