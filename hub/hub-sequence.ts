/** Numbers the hub's commits. A hub below a number that a spoke has seen was restored from an old copy: it assigns nothing until it has read what it forgot. */
import type { Clock } from '../core/base/clock.ts';
import { CodedError, messageOf } from '../core/base/errors.ts';
import type { Logger } from '../core/base/log.ts';
import { siteStateKind } from '../server/spanner/kinds/moves.ts';
import type { LinkSession } from '../server/spanner/link.ts';
import type { Store, Tables } from '../server/store/store.ts';
import type { MoveSites } from './move-ports.ts';
import type { Roster } from './roster.ts';

const NAME = 'hub_seq';
const FLOOR = 'owner_epoch_floor';

/** Commits that a hub may have forgotten. */
const MOST_FORGOTTEN = 10_000_000;
/** Attempts at the roster of a site while everybody waits. */
const ATTEMPTS = 5;

interface SequenceParts {
  readonly store: Store;
  readonly sites: MoveSites;
  readonly roster: Pick<Roster, 'pull'>;
  readonly clock: Clock;
  readonly log: Logger;
}

export class HubSequence {
  readonly #parts: SequenceParts;
  readonly #met = new WeakSet<LinkSession>();
  #wanted = 0;
  #catchingUp: Promise<void> | undefined;

  constructor(parts: SequenceParts) {
    this.#parts = parts;
  }

  /** Its roster was read since it came up. */
  hasMet(session: LinkSession): boolean {
    return this.#met.has(session);
  }

  get behind(): boolean {
    return this.#wanted > 0;
  }

  /** @throws CodedError HUB_BEHIND */
  assertCaughtUp(): void {
    if (!this.behind) return;
    throw new CodedError('HUB_BEHIND', 'this hub was restored from an older copy and reads the rosters of its spokes first', {
      retryAfterSeconds: 5,
    });
  }

  /** In the transaction of every commit. */
  next(tx: Pick<Tables, 'counters'>): Promise<number> {
    return tx.counters.next(NAME);
  }

  current(): Promise<number> {
    return this.#parts.store.counters.get(NAME);
  }

  /** The lowest epoch that has certainly not been given out by a life of this hub that it forgot. */
  floor(tx: Pick<Tables, 'counters'>): Promise<number> {
    return tx.counters.get(FLOOR);
  }

  /** Tells a site the number and how it stands here; answers how it is. */
  async state(session: LinkSession) {
    const hubSeq = await this.current();
    return await session.request(siteStateKind, { hub_seq: hubSeq, state: this.#parts.sites.get(session.siteId)?.state });
  }

  /** A step of every new link, before anything is assigned over it. @throws what the link throws */
  async meet(session: LinkSession): Promise<void> {
    const { hub_seq: seen } = await this.state(session);
    const own = await this.current();
    // no copy is so old: above the highest number nothing could ever be committed again
    if (seen > own + MOST_FORGOTTEN)
      throw new CodedError('BAD_REQUEST', `${session.siteId} says that it has seen commit ${seen} of this hub, which stands at ${own}`);
    if (seen <= own) {
      await this.#parts.roster.pull(session);
      this.#met.add(session);
      return;
    }
    this.#wanted = Math.max(this.#wanted, seen);
    this.#parts.log.error('this hub is behind its spokes', { code: 'HUB_BEHIND', spoke: session.siteId, seen });
    this.#catchingUp ??= this.#catchUp().finally(() => {
      this.#catchingUp = undefined;
    });
    await this.#catchingUp;
    this.#met.add(session);
  }

  async #catchUp(): Promise<void> {
    const { store, sites, roster, clock, log } = this.#parts;
    const failures = new Map<LinkSession, number>();
    while (this.behind) {
      const reachable = sites.list().flatMap(({ id }) => sites.session(id) ?? []);
      const read = await Promise.all(
        reachable.map((each) =>
          roster.pull(each, true).then(
            () => true,
            (thrown: unknown) => {
              log.warn('a roster could not be read', { spoke: each.siteId, error: messageOf(thrown) });
              const failed = (failures.get(each) ?? 0) + 1;
              failures.set(each, failed);
              // one site that answers nonsense must not hold the whole fleet
              if (failed >= ATTEMPTS) each.close('its roster cannot be read');
              // a closed link is not reachable any more: it does not hold the hub back
              return !each.isOpen;
            },
          ),
        ),
      );
      const seen = this.#wanted;
      const more = sites.list().some(({ id }) => {
        const session = sites.session(id);
        return session !== undefined && !reachable.includes(session);
      });
      if (more || read.includes(false)) {
        await clock.sleep(200);
        continue;
      }
      await store.transaction(async (tx) => {
        await tx.counters.raise(FLOOR, await tx.roster.highestEpoch());
        await tx.counters.raise(NAME, seen);
      });
      if (this.#wanted === seen) this.#wanted = 0;
    }
    log.info('this hub has caught up with its spokes', {});
  }
}
