/** A publish by rings: spoke after spoke gets the release, each only when the one before does well; one that does not takes the whole fleet back. */
import type { Clock } from '../core/base/clock.ts';
import { CodedError, messageOf } from '../core/base/errors.ts';
import type { Logger } from '../core/base/log.ts';
import type { Settings } from '../server/settings.ts';
import { releaseHealth } from '../server/spanner/kinds/releases.ts';
import type { LinkSession } from '../server/spanner/link.ts';
import type { RingHealth, RolloutRow, RolloutStore } from '../server/store/rollouts.ts';
import type { ConfigSync } from './config-sync.ts';

export interface RolloutParts {
  readonly rollouts: RolloutStore;
  readonly sync: Pick<ConfigSync, 'offer' | 'offerAll' | 'stateOf'>;
  session(spoke: string): LinkSession | undefined;
  /** number of the live release, 0 without one */
  live(): number;
  /** publishes an earlier release again, for all; answers its new number */
  revert(to: number, why: string): Promise<number>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tickMs: number;
  /** a ring whose spoke does not serve the release by then has failed */
  readonly loadMs: number;
}

export type Rings = RolloutRow['rings'];

/** Rings of the settings that this build knows: spokes, and at the end everyone else. @throws CodedError BAD_REQUEST */
export function ringsOf(settings: Pick<Settings, 'publish' | 'checkin'>, isSpoke: (id: string) => boolean): Rings {
  const { rings } = settings.publish;
  const refuse = (message: string, hint?: string) => new CodedError('BAD_REQUEST', message, { hint });
  if (rings.length === 0) throw refuse('publish.rings in server.yaml is empty', 'list the rings there, in the order of the rollout');
  const soakByDefault = Math.max(5 * settings.checkin.interval, 120_000);
  return rings.map((ring, index) => {
    const unknown = (['share_pct', 'label', 'target'] as const).find((key) => ring[key] !== undefined);
    if (unknown !== undefined)
      throw refuse(`the ring "${ring.name}" is chosen by ${unknown}, which is not part of this build`, 'choose rings by spoke');
    const spoke = ring.spoke ?? null;
    if (spoke === null && index < rings.length - 1)
      throw refuse(`the ring "${ring.name}" names no spoke; only the last ring is everyone else`);
    if (spoke === 'hub') throw refuse(`the ring "${ring.name}" names the hub, whose own envoys get a release first`);
    if (spoke !== null && !isSpoke(spoke)) throw refuse(`the ring "${ring.name}" names the spoke ${spoke}, which does not exist`);
    return { name: ring.name, spoke, soakMs: ring.soak ?? soakByDefault, minOkPct: ring.min_ok_pct };
  });
}

/**
 * Share of envoys that do well, and the share that is asked. Envoys that were silent before do not count; those that fell silent are bad.
 * @param reached at the end of the soak: who did not fetch the release by then is bad too
 */
export function judge(
  now: RingHealth,
  before: RingHealth,
  minOkPct: number,
  reached?: number,
): { readonly pct: number; readonly limit: number } {
  const share = (good: number, of: number) => (of <= 0 ? 100 : (100 * Math.min(good, of)) / of);
  const counted = now.envoys - Math.min(before.silent, now.envoys);
  const pct = share(Math.min(now.good, reached ?? now.good), counted);
  const baseline = share(before.good, before.envoys - before.silent);
  return { pct, limit: baseline >= minOkPct ? minOkPct : Math.max(0, baseline - 10) };
}

export class Rollout {
  readonly #parts: RolloutParts;
  #row: RolloutRow | undefined;
  #running: Promise<void> = Promise.resolve();
  #end = new AbortController();

  constructor(parts: RolloutParts) {
    this.#parts = parts;
  }

  get current(): RolloutRow | undefined {
    return this.#row;
  }

  /** What a spoke may serve; undefined: the live release, 0: none yet. */
  allowed(spoke: string): number | undefined {
    const row = this.#row;
    if (row === undefined || !(isUnderWay(row) || this.#isReverting(row))) return undefined;
    if (row.state === 'preparing') return row.former;
    const place = row.rings.findIndex((ring) => ring.spoke === spoke);
    return place >= 0 && place <= row.ring ? row.number : row.former;
  }

  /** It is to go back, but the earlier release is not live again yet. */
  #isReverting(row: RolloutRow): boolean {
    return row.state === 'reverted' && row.number === this.#parts.live();
  }

  /** After a start of the hub: what was under way goes on. */
  async resume(): Promise<void> {
    const row = await this.#parts.rollouts.newest();
    const preparing = row?.number === 0 ? row : undefined;
    this.#row = row;
    if (preparing !== undefined) {
      await this.#parts.rollouts.remove(0);
      if (this.#parts.live() > preparing.former) await this.#save({ ...preparing, number: this.#parts.live(), state: 'running' });
      else this.#row = undefined;
    }
    if (this.#row?.state === 'running') this.#begin();
    else if (this.#row !== undefined && this.#isReverting(this.#row)) await this.#parts.revert(this.#row.former, this.#row.error);
  }

  /** A publish by rings: `publish` answers the number that is live now, or undefined when nothing was published. */
  async publish<T extends { readonly number: number | null; readonly status: string }>(
    rings: Rings,
    publish: () => Promise<T>,
  ): Promise<T> {
    const { rollouts, clock, live } = this.#parts;
    const before = this.#row;
    // spokes that an unfinished rollout has not reached keep what they have
    const former = before !== undefined && isUnderWay(before) ? before.former : live();
    const now = clock.now();
    const preparing: RolloutRow = {
      number: 0,
      former,
      state: 'preparing',
      ring: 0,
      rings,
      baseline: undefined,
      error: '',
      startedAt: now,
      changedAt: now,
    };
    await rollouts.save(preparing);
    this.#row = preparing;
    try {
      const result = await publish();
      if (result.status !== 'live' || result.number === null) {
        this.#row = before;
        return result;
      }
      await this.#stop();
      if (before !== undefined && isUnderWay(before)) await rollouts.save({ ...before, state: 'superseded', changedAt: clock.now() });
      await this.#save({ ...preparing, number: result.number, state: 'running' });
      this.#begin();
      return result;
    } catch (thrown) {
      this.#row = before;
      throw thrown;
    } finally {
      await rollouts.remove(0);
    }
  }

  /** A publish or rollback for all at once: what was under way by rings is over. */
  async superseded(): Promise<void> {
    const row = this.#row;
    if (row === undefined || !['running', 'stopped'].includes(row.state) || row.number >= this.#parts.live()) return;
    await this.#stop();
    await this.#save({ ...row, state: 'superseded' });
  }

  async stop(): Promise<void> {
    await this.#stop();
  }

  async #stop(): Promise<void> {
    this.#end.abort();
    await this.#running;
    this.#end = new AbortController();
  }

  async #save(row: RolloutRow): Promise<RolloutRow> {
    const saved = { ...row, changedAt: this.#parts.clock.now() };
    await this.#parts.rollouts.save(saved);
    this.#row = saved;
    return saved;
  }

  #begin(): void {
    const { signal } = this.#end;
    this.#running = this.#run(signal).catch((thrown: unknown) =>
      this.#parts.log.error('a rollout stopped by itself', { release: this.#row?.number ?? 0, error: messageOf(thrown) }),
    );
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { log, sync } = this.#parts;
    for (let row = this.#row!; row.ring < row.rings.length; row = await this.#save({ ...row, ring: row.ring + 1, baseline: undefined })) {
      const ring = row.rings[row.ring]!;
      if (ring.spoke === null) continue;
      log.info('a ring begins', { release: row.number, ring: ring.name });
      const fault = await this.#ring(row, ring as typeof ring & { spoke: string }, signal);
      if (signal.aborted) return;
      if (fault === undefined) continue;
      await this.#failed(this.#row!, ring.name, fault);
      return;
    }
    await this.#save({ ...this.#row!, state: 'done' });
    await sync.offerAll();
    log.info('a rollout is through', { release: this.#row!.number });
  }

  /** Why it failed; undefined when it did well, or when the rollout was ended from outside. */
  async #ring(row: RolloutRow, ring: Rings[number] & { readonly spoke: string }, signal: AbortSignal): Promise<string | undefined> {
    const { sync, session, clock, tickMs, loadMs } = this.#parts;
    const until = clock.now() + loadMs;
    let baseline = row.baseline;
    while (baseline === undefined && !signal.aborted) {
      const before = await this.#health(ring.spoke);
      if (before !== undefined) {
        baseline = { envoys: before.envoys, good: before.good, silent: before.silent, soakingSince: 0 };
        await this.#save({ ...row, baseline });
      } else if (clock.now() > until) return `the spoke ${ring.spoke} cannot be reached`;
      else await clock.sleep(tickMs, signal);
    }
    for (
      let offered: LinkSession | undefined;
      sync.stateOf(ring.spoke)?.serving?.number !== row.number;
      await clock.sleep(tickMs, signal)
    ) {
      if (signal.aborted) return undefined;
      const link = session(ring.spoke);
      if (link !== undefined && link !== offered) {
        offered = link;
        await sync.offer(link).catch(() => {
          // the link was lost: the next one is tried
          offered = undefined;
        });
        continue;
      }
      const last = sync.stateOf(ring.spoke)?.last;
      if (last?.number === row.number && last.state === 'refused')
        return `the spoke ${ring.spoke} refuses the release: ${last.error ?? ''}`;
      if (clock.now() > until) return `the spoke ${ring.spoke} does not serve the release: ${last?.error ?? 'it did not say why'}`;
    }
    return this.#soak(row, ring, baseline!, signal);
  }

  async #soak(
    row: RolloutRow,
    ring: Rings[number] & { readonly spoke: string },
    before: NonNullable<RolloutRow['baseline']>,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { clock, tickMs, loadMs } = this.#parts;
    const since = before.soakingSince > 0 ? before.soakingSince : clock.now();
    if (before.soakingSince === 0) await this.#save({ ...row, baseline: { ...before, soakingSince: since } });
    for (;;) {
      await clock.sleep(Math.min(tickMs, Math.max(1, ring.soakMs)), signal);
      if (signal.aborted) return undefined;
      const isOver = clock.now() - since >= ring.soakMs;
      const now = await this.#health(ring.spoke);
      if (now === undefined) {
        // no figures are no good figures; a link that is cut gets the time that loading gets
        if (clock.now() - since > ring.soakMs + loadMs) return `the spoke ${ring.spoke} cannot be reached`;
        continue;
      }
      const { pct, limit } = judge(now, before, ring.minOkPct, isOver ? now.reached : undefined);
      if (pct < limit)
        return `${Math.floor(pct)} % of the envoys of ${ring.spoke} do well, ${limit} % are wanted (${now.silent} silent, ${now.reached} of ${now.envoys} reached)`;
      if (isOver) return undefined;
    }
  }

  async #health(spoke: string): Promise<(RingHealth & { readonly reached: number }) | undefined> {
    try {
      return await this.#parts.session(spoke)?.request(releaseHealth, {});
    } catch {
      // it counts as silent, which the caller limits
      return undefined;
    }
  }

  async #failed(row: RolloutRow, ring: string, why: string): Promise<void> {
    const { log, revert } = this.#parts;
    const error = `ring "${ring}": ${why}`;
    log.error('event', { event: 'config.auto_rollback', release: row.number, error });
    if (row.former === 0) {
      await this.#save({ ...row, state: 'stopped', error: `${error}; there is no earlier release to go back to` });
      return;
    }
    await this.#save({ ...row, state: 'reverted', error });
    await revert(row.former, error);
  }
}

function isUnderWay({ state }: RolloutRow): boolean {
  return state === 'preparing' || state === 'running' || state === 'stopped';
}
