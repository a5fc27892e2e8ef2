/** A site's side of moves: holds what arrives, hands over what leaves, and says when an envoy has been seen under its new epoch. */
import { type Backoff, backoffMs } from '../../../core/base/backoff.ts';
import type { Clock } from '../../../core/base/clock.ts';
import { CodedError, messageOf } from '../../../core/base/errors.ts';
import type { EnvoyId } from '../../../core/base/ids.ts';
import type { Logger } from '../../../core/base/log.ts';
import { type AtFailpoint, failpoint } from '../../failpoints.ts';
import type { Ownership } from '../../fleet/ownership.ts';
import type { Store } from '../../store/store.ts';
import {
  moveCommit,
  moveConfirm,
  moveDepart,
  moveExport,
  moveForget,
  moveLate,
  movePrepare,
  moveUndo,
  sitePush,
  siteStateKind,
} from '../kinds/moves.ts';
import { type Answer, answers, type LinkSession } from '../link.ts';

export interface SiteMovesParts {
  readonly ownership: Pick<
    Ownership,
    'export' | 'prepare' | 'activate' | 'depart' | 'late' | 'undo' | 'forget' | 'confirmations' | 'beTold'
  >;
  readonly store: Pick<Store, 'counters' | 'envoys'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  /** envoys this site answers policy to, and results it has not stored yet */
  counts(): Promise<{ readonly owned: number; readonly pending: number }>;
  /** early check-ins of all envoys, spread over the time; answers how many */
  push(spreadMs: number): Promise<number>;
  readonly failpoint?: AtFailpoint | undefined;
  /** between attempts to tell the hub */
  readonly retry?: Backoff | undefined;
}

const SEEN = 'hub_seq_seen';

export function moveAnswers(parts: SiteMovesParts): readonly Answer[] {
  const { ownership, store } = parts;
  const at = parts.failpoint ?? failpoint;
  const seen = (hubSeq: number) => (hubSeq > 0 ? store.counters.raise(SEEN, hubSeq) : Promise.resolve(0));
  return [
    answers(moveExport, async ({ envoy_id: id }) => {
      const record = await ownership.export(id as EnvoyId);
      at('site.export.read');
      return { record };
    }),
    answers(movePrepare, async ({ record, owner_epoch: epoch, hub_seq: hubSeq }) => {
      at('site.prepare.before');
      await seen(hubSeq);
      await ownership.prepare(record, epoch);
      at('site.prepare.stored');
      return {};
    }),
    answers(moveCommit, async ({ envoy_id: id, grant, hub_seq: hubSeq }) => {
      at('site.activate.before');
      await seen(hubSeq);
      await ownership.activate(id as EnvoyId, grant);
      at('site.activate.stored');
      return {};
    }),
    answers(moveDepart, async ({ envoy_id: id, grant, hub_seq: hubSeq }) => {
      at('site.depart.before');
      await seen(hubSeq);
      const late = await ownership.depart(id as EnvoyId, grant);
      at('site.depart.stored');
      return { late };
    }),
    answers(moveLate, async ({ envoy_id: id, late }) => {
      const row = await store.envoys.byId(id as EnvoyId);
      // whoever it is by then gets it: the hub asks again
      if (row === undefined || row.status === 'departed') throw new CodedError('NOT_FOUND', `this site does not own ${id}`);
      await ownership.late(id as EnvoyId, late);
      at('site.late.stored');
      return {};
    }),
    answers(moveUndo, async ({ envoy_id: id, owner_epoch: epoch }) => {
      await ownership.undo(id as EnvoyId, epoch);
      at('site.undo.stored');
      return {};
    }),
    answers(moveForget, async ({ envoy_id: id, owner_epoch: epoch }) => {
      await ownership.forget(id as EnvoyId, epoch);
      at('site.forget.stored');
      return {};
    }),
    answers(siteStateKind, async ({ hub_seq: hubSeq, state }) => {
      if (state !== undefined) await ownership.beTold(state);
      const highest = Math.max(await store.counters.get(SEEN), hubSeq > 0 ? await store.counters.raise(SEEN, hubSeq) : 0);
      return { hub_seq: highest, ...(await parts.counts()) };
    }),
    answers(sitePush, async ({ spread_ms: spreadMs }) => ({ asked: await parts.push(spreadMs) })),
  ];
}

const RETRY = { firstMs: 500, maxMs: 30_000 };

/** Tells the hub of every envoy that was seen under its new epoch, until the hub has said that it knows. */
export class Confirming {
  readonly #parts: SiteMovesParts;
  #hub: LinkSession | undefined;
  #running = false;
  #again = false;

  constructor(parts: SiteMovesParts) {
    this.#parts = parts;
    parts.ownership.confirmations.onNew(() => this.#poke());
  }

  /** A step of every new link. */
  link(hub: LinkSession): void {
    this.#hub = hub;
    this.#poke();
  }

  #poke(): void {
    this.#again = true;
    if (this.#running) return;
    this.#running = true;
    void this.#run().finally(() => {
      this.#running = false;
      // said while the last round was ending
      if (this.#again && this.#hub?.isOpen === true) this.#poke();
    });
  }

  async #run(): Promise<void> {
    const { clock, log, random } = this.#parts;
    for (let failures = 0; this.#again; ) {
      this.#again = false;
      const hub = this.#hub;
      if (hub?.isOpen !== true) return;
      try {
        await this.#tell(hub);
        failures = 0;
      } catch (thrown) {
        log.warn('a move could not be confirmed yet', { error: messageOf(thrown) });
        await clock.sleep(backoffMs(failures++, this.#parts.retry ?? RETRY, random));
        this.#again = true;
      }
    }
  }

  async #tell(hub: LinkSession): Promise<void> {
    const { ownership, failpoint: at = failpoint } = this.#parts;
    let refused: unknown;
    for (const { envoyId, ownerEpoch } of await ownership.confirmations.pending()) {
      try {
        await hub.request(moveConfirm, { envoy_id: envoyId, owner_epoch: ownerEpoch });
        at('site.confirm.sent');
        await ownership.confirmations.done(envoyId, ownerEpoch);
      } catch (thrown) {
        // one that the hub does not know yet holds no other back
        if (!hub.isOpen || (thrown instanceof CodedError && thrown.code === 'SPOKE_UNAVAILABLE')) throw thrown;
        refused = thrown;
      }
    }
    if (refused !== undefined) throw refused;
  }
}
