/** The hub's part in the trust of its sites: their delegations and CAs are renewed, revocations spread at once, and whoever is revoked loses its link. */
import { CodedError, messageOf } from '../core/base/errors.ts';
import type { SignedRecord } from '../core/crypto/delegation.ts';
import { certifySiteCa, delegateSpoke } from '../server/identity/sign-spoke.ts';
import type { ServerParts } from '../server/parts.ts';
import { renewIdentityKind, revocationsKind } from '../server/spanner/kinds/trust.ts';
import { type Answer, answers, type LinkSession } from '../server/spanner/link.ts';
import { datesOf, delegationsOf, serialOf } from './delegations.ts';
import type { SiteRegistry } from './sites.ts';

/** One renewal in two months is usual. */
const MOST_DELEGATIONS = 20;

type Parts = Pick<ServerParts, 'clock' | 'identity' | 'log' | 'paths' | 'revocations' | 'store' | 'trail'>;

export class HubTrust {
  readonly answers: readonly Answer[];
  readonly #parts: Parts;
  readonly #sites: SiteRegistry;

  constructor(parts: Parts, sites: SiteRegistry, drop: (siteId: string, reason: string) => void) {
    this.#parts = parts;
    this.#sites = sites;
    this.answers = [answers(renewIdentityKind, ({ ca_csr: csr }, { from }) => this.#renew(from, csr))];
    parts.revocations.onChange(() => {
      for (const site of sites.list()) {
        if (site.own) continue;
        const [current] = delegationsOf(site);
        if (current !== undefined && parts.revocations.serials.has(serialOf(current))) drop(site.id, 'its server is revoked');
        const session = sites.session(site.id);
        // a link that fails here is told everything when it comes back
        if (session !== undefined)
          this.exchange(session).catch((thrown: unknown) =>
            parts.log.component('link').warn('a revocation waits for the next link', { spoke_id: site.id, error: messageOf(thrown) }),
          );
      }
    });
  }

  /** A step of every fresh link. */
  async exchange(session: LinkSession): Promise<void> {
    const { revocations } = this.#parts;
    const { records } = await session.request(revocationsKind, { records: [...revocations.records] });
    revocations.add(records);
  }

  async #renew(siteId: string, csr: string | null): Promise<{ delegation: SignedRecord; site_ca: string | null }> {
    const { clock, identity, paths, store, trail } = this.#parts;
    const now = clock.now();
    const { serverId } = this.#sites.get(siteId)!;
    const ca = csr === null ? null : await certifySiteCa(paths, siteId, csr, now);
    const delegation = await store.transaction(async (tx) => {
      // as it is now: it may be removed meanwhile, and one that another renewal gave a moment ago must stay known
      const site = await tx.sites.byId(siteId);
      if (site === undefined || site.state === 'removed' || site.serverId !== serverId)
        throw new CodedError('REVOKED', `the spoke ${siteId} was removed`);
      const earlier = delegationsOf(site).filter((each) => datesOf(each).not_after > now);
      if (earlier.length >= MOST_DELEGATIONS)
        throw new CodedError('RATE_LIMITED', `${siteId} has ${earlier.length} delegations that have not run out`, {
          retryAfterSeconds: 86_400,
        });
      const publicKey = Buffer.from(site.serverKey, 'base64');
      const fresh = delegateSpoke(paths, { fleetId: identity.fleetId, siteId, serverId, publicKey, epoch: site.epoch }, now);
      // those before stay good until they run out: a removal must be able to revoke them
      const held = [fresh, ...earlier];
      await tx.sites.update(siteId, { delegation: JSON.stringify(held), ...(ca === null ? {} : { ca }) });
      await trail.record(tx, {
        actor: { kind: 'spoke', id: siteId, name: siteId },
        event: 'delegation.issued',
        target: { kind: 'spoke', id: siteId, name: site.addr },
        outcome: 'ok',
        data: { serial: serialOf(fresh), server_id: serverId, ca: ca !== null },
      });
      return fresh;
    });
    await this.#sites.reload(siteId);
    return { delegation, site_ca: ca };
  }
}
