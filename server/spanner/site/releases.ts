/** A spoke's side of releases: takes what its hub offers, the newest offer wins, and says what it serves. */
import { backoffMs } from '../../../core/base/backoff.ts';
import type { Clock } from '../../../core/base/clock.ts';
import { CodedError, messageOf } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import { manifestDeltaSchema } from '../../../core/config/manifest-delta.ts';
import type { Publisher } from '../../publish/publisher.ts';
import type { ReleaseReceiver, ReleaseSource } from '../../publish/receive.ts';
import type { Store } from '../../store/store.ts';
import { type Offered, type ReleaseState, releaseFetch, releaseManifest, releaseOffer, releaseState } from '../kinds/releases.ts';
import { type Answer, answers, type LinkSession } from '../link.ts';

export interface ReleaseTakerParts {
  readonly publisher: Publisher;
  readonly receiver: ReleaseReceiver;
  readonly store: Pick<Store, 'releases' | 'counters'>;
  /** the open link to the hub */
  hub(): LinkSession | undefined;
  event(name: 'spoke.release_refused', data: Readonly<Record<string, unknown>>): void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  /** between attempts at a release that cannot be taken now */
  readonly retry?: { readonly firstMs: number; readonly maxMs: number } | undefined;
}

export interface ReleaseTaker {
  readonly answers: readonly Answer[];
  state(): Promise<ReleaseState>;
  /** after the last attempt under way has ended */
  idle(): Promise<void>;
  stop(): Promise<void>;
}

type Last = NonNullable<ReleaseState['last']>;

/** What no other attempt makes better, until the hub offers something else. */
const REFUSED: readonly string[] = ['RELEASE_INVALID', 'TOO_LARGE', 'VALIDATION_FAILED'];
/** Refused as well, but somebody may set the secret any minute. */
const WAITING = 'SECRET_MISSING';
const RETRY = { firstMs: 2_000, maxMs: 60_000 };

class Taker implements ReleaseTaker {
  readonly answers: readonly Answer[];
  readonly #parts: ReleaseTakerParts;
  #last: Last | undefined;
  #revision = 0;
  #since: { readonly number: number; readonly at: number };
  #taking: { readonly offer: Offered; readonly end: AbortController; readonly done: Promise<void> } | undefined;

  constructor(parts: ReleaseTakerParts) {
    this.#parts = parts;
    this.#since = { number: parts.publisher.live?.number ?? 0, at: parts.clock.now() };
    this.answers = [answers(releaseOffer, async ({ release }) => (release === null ? this.state() : this.#offered(release)))];
  }

  async state(): Promise<ReleaseState> {
    const { publisher, store, clock } = this.#parts;
    const { live } = publisher;
    if (live !== undefined && live.number !== this.#since.number) this.#since = { number: live.number, at: clock.now() };
    const highest = await store.counters.get('release');
    return {
      serving:
        live === undefined
          ? null
          : { epoch: live.stored.manifest.epoch, number: live.number, root: live.root, version: live.version, since: this.#since.at },
      last: this.#last ?? null,
      highest: Math.max(highest, live?.number ?? 0),
      revision: ++this.#revision,
    };
  }

  async #offered(offer: Offered): Promise<ReleaseState> {
    const { receiver, publisher } = this.#parts;
    const isTaken = this.#taking?.offer.root === offer.root && this.#taking.offer.number === offer.number;
    if (isTaken && this.#last?.state === 'loading') return this.state();
    const standing = await receiver.standing(offer);
    if (standing === 'conflict') {
      this.#refuse(
        offer,
        `release ${offer.number} has the root ${publisher.live?.root.slice(0, 12) ?? ''} here, not ${offer.root.slice(0, 12)}`,
      );
    } else if (standing === 'same') this.#set(offer, 'loaded', '');
    else if (standing !== 'older') {
      this.#taking?.end.abort();
      const before = this.#taking?.done ?? Promise.resolve();
      const end = new AbortController();
      this.#set(offer, 'loading', '');
      this.#taking = { offer, end, done: before.then(() => this.#take(offer, end.signal)) };
    }
    return this.state();
  }

  #set({ epoch, number, root }: Offered, state: Last['state'], error: string): boolean {
    const isNews = this.#last?.state !== state || this.#last.error !== (error || null) || this.#last.number !== number;
    this.#last = { epoch, number, root, state, error: error === '' ? null : error.slice(0, 4096), at: this.#parts.clock.now() };
    return isNews;
  }

  #refuse(offer: Offered, error: string): void {
    if (!this.#set(offer, 'refused', error)) return;
    this.#parts.event('spoke.release_refused', { number: offer.number, root: offer.root, error });
    this.#parts.log.error('a release of the hub was refused', { release: offer.number, error });
  }

  async #take(offer: Offered, signal: AbortSignal): Promise<void> {
    const { receiver, clock, log, random, retry = RETRY } = this.#parts;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const release = await receiver.receive(offer, this.#source(offer), signal);
        this.#set(offer, 'loaded', '');
        log.info('the release of the hub is live', { release: release.number });
        await this.#report();
        return;
      } catch (thrown) {
        if (signal.aborted) return;
        const code = thrown instanceof CodedError ? thrown.code : 'INTERNAL';
        const error = messageOf(thrown);
        if (REFUSED.includes(code) || code === WAITING) this.#refuse(offer, error);
        else if (this.#set(offer, 'failed', error))
          log.warn('a release of the hub could not be taken', { release: offer.number, code, error });
        await this.#report();
        // without a link there is nothing to fetch: the next one begins with an offer
        if (REFUSED.includes(code) || this.#parts.hub()?.isOpen !== true) return;
      }
      await clock.sleep(retry.firstMs / 2 + backoffMs(attempt, retry, random), signal);
    }
  }

  #source({ number, root }: Offered): ReleaseSource {
    const link = (): LinkSession => {
      const session = this.#parts.hub();
      if (session === undefined) throw new CodedError('SPOKE_UNAVAILABLE', 'there is no link to the hub');
      return session;
    };
    return {
      async manifest(have) {
        const { data } = await link().requestData(releaseManifest, { number, root, have: [...have] });
        const parsed = manifestDeltaSchema.safeParse(JSON.parse(Buffer.from(data ?? []).toString('utf8')));
        if (!parsed.success)
          throw new CodedError('RELEASE_INVALID', 'the hub sent a manifest of an unknown shape', { cause: parsed.error });
        return parsed.data;
      },
      async fetch(parts) {
        return (await link().requestData(releaseFetch, { number, root, parts: [...parts] })).data ?? new Uint8Array();
      },
    };
  }

  /** What is not heard now is told with the next offer. */
  async #report(): Promise<void> {
    try {
      await this.#parts.hub()?.request(releaseState, await this.state());
    } catch (thrown) {
      this.#parts.log.debug('the hub was not told of a release', { error: messageOf(thrown) });
    }
  }

  async idle(): Promise<void> {
    await this.#taking?.done;
  }

  async stop(): Promise<void> {
    this.#taking?.end.abort();
    await this.idle();
  }
}

export function createReleaseTaker(parts: ReleaseTakerParts): ReleaseTaker {
  return new Taker(parts);
}
