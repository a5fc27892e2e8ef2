/** Permits that the hub gives to its spokes, so that each can make some enrolment tokens without it. The hub's table says which were given and which are used. */
import { randomBytes } from 'node:crypto';
import { type SignedPermit, signPermit } from '../core/policy/permit.ts';
import { Turns } from '../server/enroll/turns.ts';
import { failpoint } from '../server/failpoints.ts';
import type { ServerParts } from '../server/parts.ts';
import { permitBatch, permitSpent } from '../server/spanner/kinds/enroll.ts';
import { type Answer, answers, type LinkSession } from '../server/spanner/link.ts';

export const PERMIT_LIFE_MS = 7 * 86_400_000;
/** With less left a permit is not counted: a site that is cut off now shall have some for days. */
const FRESH_MS = 3 * 86_400_000;

const EVERY_MS = 3_600_000;

export interface PermitSites {
  ids(): readonly string[];
  /** the open one of a site */
  session(siteId: string): LinkSession | undefined;
}

type Parts = Pick<ServerParts, 'clock' | 'identity' | 'log' | 'store' | 'trail'>;

export class HubPermits {
  readonly answers: readonly Answer[];
  readonly #parts: Parts;
  readonly #turns = new Turns();

  readonly #sites: PermitSites;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: Parts, sites: PermitSites) {
    this.#parts = parts;
    this.#sites = sites;
    this.answers = [
      answers(permitSpent, async ({ spent }, { from }) => {
        for (const use of spent) await this.#used(from, use);
        const open = sites.session(from);
        if (open !== undefined) void this.linked(open);
        return {};
      }),
    ];
  }

  /** A link that holds for weeks has its permits replaced before they end. */
  start(): void {
    this.#timer = setInterval(() => void this.#all(), EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #all(): Promise<void> {
    for (const siteId of this.#sites.ids()) {
      const session = this.#sites.session(siteId);
      if (session !== undefined) await this.linked(session);
    }
  }

  /** As {@link topUp}; a link is worth more than permits. */
  async linked(session: LinkSession): Promise<void> {
    const { log, identity } = this.#parts;
    if (session.siteId === identity.siteId) return;
    await this.topUp(session).catch((thrown: unknown) => log.warn('permits could not be given', { spoke: session.siteId, error: thrown }));
  }

  /** Brings a site to as many permits as it wants. What it was given before is sent again rather than made anew. */
  topUp(session: LinkSession): Promise<void> {
    return this.#turns.take(session.siteId, () => this.#topUp(session));
  }

  async #topUp(session: LinkSession): Promise<void> {
    const { siteId } = session;
    const { store, clock } = this.#parts;
    const now = clock.now();
    const { held, wanted } = await session.request(permitBatch, { permits: [], used: [] });
    const given = await store.permits.usable(siteId, now);
    const usable = new Set(given.map(({ id }) => id));
    // it was restored from an older copy and does not know that they are used
    const used = held.filter((id) => !usable.has(id)).slice(0, 1000);
    const fresh = given.filter(({ notAfter }) => notAfter > now + FRESH_MS).slice(-wanted || given.length);
    const has = new Set(held);
    const lost = wanted === 0 ? [] : fresh.filter(({ id }) => !has.has(id));
    const made = await this.#mint(siteId, Math.max(0, wanted - fresh.length), now);
    const permits = [...lost.map(({ record }) => JSON.parse(record) as SignedPermit), ...made];
    if (permits.length + used.length > 0) await session.request(permitBatch, { permits, used });
  }

  /** Known here before they leave. */
  async #mint(siteId: string, count: number, now: number): Promise<readonly SignedPermit[]> {
    if (count === 0) return [];
    const { store, identity, trail } = this.#parts;
    const notAfter = now + PERMIT_LIFE_MS;
    const made = Array.from({ length: count }, () => {
      const id = randomBytes(16).toString('hex');
      const permit = { fleet_id: identity.fleetId, site_id: siteId, permit_id: id, not_before: now, not_after: notAfter };
      return { id, signed: signPermit(identity, permit) };
    });
    await store.transaction(async (tx) => {
      await tx.permits.add(
        made.map(({ id, signed }) => ({
          id,
          site: siteId,
          record: JSON.stringify(signed),
          notAfter,
          spentAt: 0,
          spentFor: '',
          pattern: '',
        })),
      );
      await trail.record(tx, {
        actor: { kind: 'system', id: 'system', name: 'system' },
        event: 'permit.issued',
        target: { kind: 'spoke', id: siteId, name: siteId },
        outcome: 'ok',
        data: { count, not_after: new Date(notAfter).toISOString(), first: made[0]!.id },
      });
    });
    failpoint('permit.minted');
    return made.map(({ signed }) => signed);
  }

  /** Told again after a lost answer it changes nothing. */
  async #used(
    siteId: string,
    use: { readonly id: string; readonly token_id: string; readonly pattern: string; readonly at: number },
  ): Promise<void> {
    const { store, trail, log } = this.#parts;
    await store.transaction(async (tx) => {
      const row = await tx.permits.byId(use.id);
      if (row?.site === siteId && row.spentFor === use.token_id) return;
      const good = row?.site === siteId && (await tx.permits.spend(use.id, { tokenId: use.token_id, pattern: use.pattern, at: use.at }));
      if (!good) log.error('a site used a permit that is not good for it', { spoke: siteId, permit: use.id, token: use.token_id });
      await trail.record(tx, {
        actor: { kind: 'spoke', id: siteId, name: siteId },
        event: good ? 'permit.spent' : 'permit.misused',
        target: { kind: 'token', id: use.token_id, name: use.pattern },
        outcome: good ? 'ok' : 'denied',
        data: {
          permit: use.id,
          at: new Date(use.at).toISOString(),
          ...(good ? {} : { given_to: row?.site ?? '', used_for: row?.spentFor ?? '' }),
        },
      });
    });
  }
}
