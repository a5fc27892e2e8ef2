/** Releases from the hub to its spokes: offered at once and to all, fetched by them, and what each serves is known from its own mouth. */
import type { Clock } from '../core/base/clock.ts';
import { messageOf } from '../core/base/errors.ts';
import type { Logger } from '../core/base/log.ts';
import type { Metrics } from '../server/observe/metrics.ts';
import type { Publisher } from '../server/publish/publisher.ts';
import { type ReleaseState, releaseOffer, releaseState } from '../server/spanner/kinds/releases.ts';
import { type Answer, answers, type LinkSession } from '../server/spanner/link.ts';
import type { Store } from '../server/store/store.ts';
import { ReleaseContents } from './release-contents.ts';

export interface ConfigSyncParts {
  readonly publisher: Publisher;
  readonly store: Pick<Store, 'counters'>;
  /** the open links to spokes */
  sessions(): Iterable<LinkSession>;
  /** a rollout under way holds releases back from spokes: the number that this one may have, 0 for none */
  allowed?(siteId: string): number | undefined;
  readonly metrics?: Metrics | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** One spoke, as `config status` shows it. */
export interface SpokeRelease {
  readonly spoke: string;
  readonly serving: ReleaseState['serving'];
  readonly last: ReleaseState['last'];
  /** releases behind; null: it never said what it serves */
  readonly lag: number | null;
  /** when it was heard last about releases */
  readonly heardAt: number;
  /** from the offer until it said that it serves it */
  readonly servedAfterMs: number | undefined;
  /** bytes on its link meanwhile */
  readonly bytes: number | undefined;
}

interface Known {
  state: ReleaseState | undefined;
  heardAt: number;
  session?: LinkSession;
  offer?: { readonly number: number; readonly at: number; readonly traffic: number; readonly session: LinkSession } | undefined;
  servedAfterMs?: number | undefined;
  bytes?: number | undefined;
}

const trafficOf = ({ traffic }: LinkSession): number => traffic.sent + traffic.received;

export class ConfigSync {
  readonly answers: readonly Answer[];
  readonly #parts: ConfigSyncParts;
  readonly #contents: ReleaseContents;
  readonly #known = new Map<string, Known>();
  readonly #listeners: ((spoke: string) => void)[] = [];

  constructor(parts: ConfigSyncParts) {
    this.#parts = parts;
    this.#contents = new ReleaseContents(parts.publisher);
    this.answers = [...this.#contents.answers, answers(releaseState, async (state, { from }) => this.#heard(from, state).then(() => ({})))];
  }

  /** A step of every new link: the newest release, if the spoke does not serve it. @throws what the link throws */
  async offer(session: LinkSession): Promise<void> {
    const { publisher, clock, log } = this.#parts;
    const { siteId } = session;
    const known = this.#known.get(siteId) ?? { state: undefined, heardAt: 0 };
    this.#known.set(siteId, known);
    if (known.session !== session) {
      known.session = session;
      // another life of the spoke may count anew
      if (known.state !== undefined) known.state = { ...known.state, revision: 0 };
    }
    const allowed = this.#parts.allowed?.(siteId) ?? publisher.live?.number;
    const target = allowed === 0 ? undefined : allowed;
    const release = target === undefined ? null : await this.#contents.offered(target, known.state?.serving?.root);
    if (target !== undefined && known.offer?.number !== target) {
      known.offer = { number: target, at: clock.monotonic(), traffic: trafficOf(session), session };
      known.servedAfterMs = undefined;
      known.bytes = undefined;
    }
    const state = await session.request(releaseOffer, { release });
    await this.#heard(siteId, state);
    const served = state.serving?.number ?? 0;
    if (served > (publisher.live?.number ?? 0))
      log.warn('a spoke serves a newer release than this hub knows', { spoke: siteId, serves: served, live: publisher.live?.number ?? 0 });
  }

  /** After a publish: to all at once; a spoke that does not hear it gets it with its next link. */
  async offerAll(): Promise<void> {
    await Promise.all(
      [...this.#parts.sessions()].map((session) =>
        this.offer(session).catch((thrown: unknown) =>
          this.#parts.log.warn('a release could not be offered', { spoke: session.siteId, error: messageOf(thrown) }),
        ),
      ),
    );
  }

  /** called when a spoke has said something about its release */
  onState(listener: (spoke: string) => void): void {
    this.#listeners.push(listener);
  }

  stateOf(spoke: string): ReleaseState | undefined {
    return this.#known.get(spoke)?.state;
  }

  forget(spoke: string): void {
    this.#known.delete(spoke);
  }

  /** of every spoke that was heard, by id */
  status(): readonly SpokeRelease[] {
    const live = this.#parts.publisher.live?.number ?? 0;
    return [...this.#known]
      .map(([spoke, { state, heardAt, servedAfterMs, bytes }]) => {
        const serving = state?.serving ?? null;
        const lag = serving === null ? (live === 0 ? 0 : null) : Math.max(0, live - serving.number);
        return { spoke, serving, last: state?.last ?? null, lag, heardAt, servedAfterMs, bytes };
      })
      .sort((a, b) => (a.spoke < b.spoke ? -1 : 1));
  }

  async #heard(spoke: string, state: ReleaseState): Promise<void> {
    const { clock, store, metrics, publisher, log } = this.#parts;
    // a hub that was restored from a backup gives out no number that a spoke has seen
    if (state.highest > 0) await store.counters.raise('release', state.highest);
    const known = this.#known.get(spoke) ?? { state: undefined, heardAt: 0 };
    this.#known.set(spoke, known);
    if ((known.state?.revision ?? 0) > state.revision) return;
    const before = known.state?.last;
    known.state = state;
    known.heardAt = clock.now();
    const { offer } = known;
    if (offer !== undefined && known.servedAfterMs === undefined && state.serving?.number === offer.number) {
      known.servedAfterMs = Math.round(clock.monotonic() - offer.at);
      known.bytes = trafficOf(offer.session) - offer.traffic;
    }
    if (state.last?.state === 'refused' && (before?.state !== 'refused' || before.number !== state.last.number))
      log.error('event', { event: 'spoke.release_refused', spoke, number: state.last.number, error: state.last.error });
    const live = publisher.live?.number ?? 0;
    metrics?.set('vigo_spoke_release_lag', Math.max(0, live - (state.serving?.number ?? 0)), { spoke });
    for (const listener of this.#listeners) listener(spoke);
  }
}
