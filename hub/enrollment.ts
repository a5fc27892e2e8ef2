/** Enrolment at the hub (server.md §6.6): it checks, spends the token for these keys, and orders the envoy at the site where its hostname belongs. */
import type { EnrollRequest } from '../core/api/enroll.ts';
import { CodedError, isErrorCode } from '../core/base/errors.ts';
import type { EnvoyId } from '../core/base/ids.ts';
import { verifyFor } from '../core/crypto/domain.ts';
import type { EnrollResult } from '../server/enroll/creation.ts';
import type { ProvenKey } from '../server/enroll/request.ts';
import type { CheckedRequest } from '../server/enroll/token-desk.ts';
import { Turns } from '../server/enroll/turns.ts';
import { failpoint } from '../server/failpoints.ts';
import type { ServerParts } from '../server/parts.ts';
import { enrollCreate, tokenSpend, tokenUnspend } from '../server/spanner/kinds/enroll.ts';
import { type Answer, answers } from '../server/spanner/link.ts';
import type { EnrollTokenRow } from '../server/store/store.ts';
import { acceptsEnvoys, routeAmong } from './routing.ts';
import type { Sites } from './sites.ts';

/** An agent waits 30 s. */
const ORDER_MS = 15_000;
/** For so long a hostname that was enrolled counts as taken, until the roster has heard of it. */
const CLAIM_MS = 15 * 60_000;

export type HubEnrollmentParts = Pick<ServerParts, 'advertised' | 'clock' | 'desk' | 'identity' | 'settings' | 'store' | 'trail'> & {
  readonly sites: Sites;
  /** live envoys of that name, as their sites say */
  takenBy(hostname: string): Promise<readonly Holder[]>;
  /** @throws CodedError HUB_BEHIND while the hub does not know what it did before */
  assertCaughtUp(): void;
};

export interface Holder {
  readonly siteId: string;
  /** raw public key */
  readonly identityKey: Uint8Array;
  /** the hub itself moved it there; else it is the word of the site alone */
  readonly placed: boolean;
}

interface Order extends CheckedRequest {
  readonly request: EnrollRequest;
  readonly address: string;
}

export class HubEnrollment {
  readonly answers: readonly Answer[];
  readonly #parts: HubEnrollmentParts;
  readonly #turns = new Turns();
  readonly #claims = new Map<string, { readonly siteId: string; readonly at: number }>();

  constructor(parts: HubEnrollmentParts) {
    this.#parts = parts;
    this.answers = [
      answers(tokenSpend, async ({ request, address }, { from }) => await this.#spendFor(from, request, address)),
      answers(tokenUnspend, async ({ token_id: id, key_fingerprint: fingerprint }, { from }) => ({
        unspent: await this.#turns.take(id, () => this.#giveBack(id, fingerprint, from, 'the site says that it made nothing')),
      })),
    ];
  }

  /** @throws CodedError as listed in server.md §6.6 */
  async enroll(request: EnrollRequest, address: string): Promise<EnrollResult> {
    this.#parts.assertCaughtUp();
    const checked = await this.#parts.desk.check(request);
    return await this.#turns.take(checked.token?.id ?? request.hostname, () => this.#enroll({ ...checked, request, address }));
  }

  async #enroll(order: Order): Promise<EnrollResult> {
    const { request, key } = order;
    const token = await this.#fresh(order.token);
    const again = token?.spent !== undefined;
    const siteId = again ? await this.#sameSite(token, order) : await this.#siteFor(order, token);
    const session = this.#parts.sites.session(siteId);
    if (session === undefined) throw unavailable(siteId, again ? 'the token stays spent for these keys' : 'the token stays unspent');
    if (token !== undefined && !again) await this.#spend(token, order, siteId);
    failpoint('enroll.spent');
    if (!session.isOpen) {
      if (token !== undefined && !again) await this.#giveBack(token.id, key.fingerprint, siteId, 'the site could not be reached');
      throw unavailable(siteId, 'the token stays unspent');
    }
    const { address } = order;
    const { id, pattern, labels } = token ?? {};
    const facts = token === undefined ? null : { id: id!, pattern: pattern!, labels: { ...labels } };
    // from here on nobody can say what came of it before the answer is there: the token stays with these keys
    const made = await session.request(
      enrollCreate,
      { request, address, token: facts, again, fallback: this.#fallbackOf(siteId) },
      { deadlineMs: ORDER_MS },
    );
    failpoint('enroll.ordered');
    if (made.status === 'refused') {
      if (token !== undefined && !again) await this.#giveBack(token.id, key.fingerprint, siteId, made.message);
      throw new CodedError(isErrorCode(made.code) ? made.code : 'INTERNAL', made.message, { hint: made.hint ?? undefined });
    }
    this.#claim(request.hostname, siteId);
    const envoyId = made.status === 'enrolled' ? made.reply.envoy_id : made.enrollment_id;
    if (token !== undefined) await this.#parts.store.tokens.enrolled(token.id, key.fingerprint, envoyId as EnvoyId);
    return made.status === 'enrolled' ? made : { status: 'pending', enrollmentId: made.enrollment_id };
  }

  /** A token of the hub shown at a site. */
  async #spendFor(siteId: string, request: EnrollRequest, address: string) {
    const { desk, sites } = this.#parts;
    this.#parts.assertCaughtUp();
    const checked = await desk.check(request);
    const shown = checked.token;
    if (shown === undefined) throw new CodedError('TOKEN_UNKNOWN', 'an enrolment token is needed');
    return await this.#turns.take(shown.id, async () => {
      const order = { ...checked, request, address };
      const token = (await this.#fresh(shown)) ?? shown;
      const again = token.spent !== undefined;
      if (again) {
        if ((await this.#sameSite(token, order)) !== siteId)
          throw new CodedError('TOKEN_ALREADY_SPENT', 'the enrolment token was spent at another site', { hint: 'enrol at the hub' });
      } else {
        const site = sites.get(siteId);
        if (site === undefined || !acceptsEnvoys(site)) throw new CodedError('SPOKE_DRAINING', `${siteId} takes no envoys now`);
        this.#requireSpoke(token, siteId);
        const holder = await this.#holder(request.hostname);
        if (holder !== undefined && holder !== siteId)
          throw new CodedError('HOSTNAME_TAKEN', `a live envoy of ${holder} holds the hostname ${request.hostname}`, {
            hint: 'enrol at the hub: it asks the site that has the envoy',
          });
        await this.#spend(token, order, siteId);
        failpoint('enroll.spent');
        this.#claim(request.hostname, siteId);
      }
      const { id, pattern, labels } = token;
      return { token: { id, pattern, labels: { ...labels } }, again, fallback: [...this.#fallbackOf(siteId)] };
    });
  }

  /** The row as it is now that it is our turn. */
  async #fresh(token: EnrollTokenRow | undefined): Promise<EnrollTokenRow | undefined> {
    return token === undefined ? undefined : await this.#parts.store.tokens.byId(token.id);
  }

  /** Where a spent token was used, for the keys that used it. @throws CodedError TOKEN_ALREADY_SPENT for others */
  async #sameSite(token: EnrollTokenRow, { request, key, address }: Order): Promise<string> {
    if (this.#parts.desk.isRetry(token, key, request.hostname)) return token.spent!.site || this.#parts.identity.siteId;
    return await this.#parts.desk.refuseSpent(token, request.hostname, key, address);
  }

  /**
   * The site that has a live envoy of this name decides about another; else the route.
   * @throws CodedError NO_ROUTE, SPOKE_DRAINING, TOKEN_HOSTNAME_MISMATCH, HOSTNAME_TAKEN when only its word says that a site off the route has it
   */
  async #siteFor(order: Order, token: EnrollTokenRow | undefined): Promise<string> {
    const { hostname } = order.request;
    const { sites, settings } = this.#parts;
    const holder = await this.#holder(hostname, order);
    const held = holder === undefined ? undefined : sites.get(holder);
    if (held !== undefined && !acceptsEnvoys(held))
      throw new CodedError('SPOKE_DRAINING', `${held.id} has an envoy of that name and takes none now`);
    const { siteId, busy, why } = held === undefined ? routeAmong(hostname, sites, settings) : { siteId: held.id, busy: false, why: '' };
    if (siteId === undefined)
      throw new CodedError(busy ? 'SPOKE_DRAINING' : 'NO_ROUTE', `${hostname} belongs to no spoke: ${why}`, {
        hint: `vigocli spanner route ${hostname}`,
      });
    this.#requireSpoke(token, siteId);
    return siteId;
  }

  #requireSpoke(token: EnrollTokenRow | undefined, siteId: string): void {
    if (token !== undefined && token.spoke !== '' && token.spoke !== siteId)
      throw new CodedError('TOKEN_HOSTNAME_MISMATCH', `the enrolment token is for hosts of ${token.spoke}, this one belongs to ${siteId}`, {
        hint: 'the token stays unspent',
      });
  }

  /** @param order its machine is sent to the holder: a site must not draw the machines of others to itself by a name that it claims */
  async #holder(hostname: string, order?: Order): Promise<string | undefined> {
    const holders = await this.#parts.takenBy(hostname);
    const [first] = holders;
    if (first !== undefined) {
      if (order === undefined) return first.siteId;
      const { siteId } = routeAmong(hostname, this.#parts.sites, this.#parts.settings);
      const trusted = holders.find((each) => each.placed || each.siteId === siteId || provesOld(order, each));
      if (trusted !== undefined) return trusted.siteId;
      throw new CodedError(
        'HOSTNAME_TAKEN',
        `${first.siteId} has a live envoy of the name ${hostname}, which belongs to ${siteId ?? 'no spoke'}`,
        {
          hint: `vigocli spanner reassign ${hostname}, or revoke it`,
        },
      );
    }
    const claim = this.#claims.get(hostname);
    return claim === undefined || this.#parts.clock.now() - claim.at > CLAIM_MS ? undefined : claim.siteId;
  }

  #claim(hostname: string, siteId: string): void {
    const now = this.#parts.clock.now();
    for (const [name, { at }] of this.#claims) {
      // in order of age
      if (now - at <= CLAIM_MS) break;
      this.#claims.delete(name);
    }
    this.#claims.delete(hostname);
    this.#claims.set(hostname, { siteId, at: now });
  }

  #fallbackOf(siteId: string): string[] {
    const site = this.#parts.sites.get(siteId);
    return site === undefined || site.own ? [] : [...site.fallback, this.#parts.advertised];
  }

  /** Durable before anybody acts on it. */
  async #spend(token: EnrollTokenRow, { request, address, key }: Order, siteId: string): Promise<void> {
    const { store, trail, clock } = this.#parts;
    const use = {
      envoyId: '' as const,
      hostname: request.hostname,
      keyFingerprint: key.fingerprint,
      address,
      at: clock.now(),
      site: siteId,
    };
    const won = await store.transaction(async (tx) => {
      if (!(await tx.tokens.spend(token.id, use))) return false;
      await trail.record(tx, {
        actor: { kind: 'envoy', id: '', name: request.hostname, address },
        event: 'token.spent',
        target: { kind: 'token', id: token.id, name: token.pattern },
        outcome: 'ok',
        data: { spoke: siteId, key_fingerprint: key.fingerprint },
      });
      return true;
    });
    if (won) return;
    const now = await store.tokens.byId(token.id);
    if (now?.spent !== undefined) await this.#parts.desk.refuseSpent(now, request.hostname, key, address);
    throw new CodedError('TOKEN_REVOKED', 'the enrolment token was revoked a moment ago');
  }

  /** False when the token was not spent by this use, or an envoy is known to have come of it. */
  async #giveBack(id: string, fingerprint: ProvenKey['fingerprint'], siteId: string, why: string): Promise<boolean> {
    const { store, trail } = this.#parts;
    return await store.transaction(async (tx) => {
      const row = await tx.tokens.byId(id);
      if (row === undefined || !(await tx.tokens.unspend(id, fingerprint, siteId))) return false;
      this.#claims.delete(row.spent?.hostname ?? '');
      await trail.record(tx, {
        actor: { kind: 'spoke', id: siteId, name: siteId },
        event: 'token.unspent',
        target: { kind: 'token', id, name: row.pattern },
        outcome: 'ok',
        data: { hostname: row.spent?.hostname ?? '', key_fingerprint: fingerprint, why },
      });
      return true;
    });
  }
}

/** The machine shows the key of the envoy that was there before. */
function provesOld({ request, key }: Order, { identityKey }: Holder): boolean {
  const { old_key_proof: proof } = request;
  return proof !== undefined && verifyFor('enroll', identityKey, key.signedBytes, Buffer.from(proof, 'base64'));
}

function unavailable(siteId: string, hint: string): CodedError {
  return new CodedError('SPOKE_UNAVAILABLE', `the site ${siteId} of this host cannot be reached now`, { hint, retryAfterSeconds: 5 });
}
