/** Permits that this spoke holds: each token made here uses one up, and the hub hears which, at once or when it is back. */
import { CodedError, messageOf } from '../core/base/errors.ts';
import { openPermit, type SignedPermit } from '../core/policy/permit.ts';
import type { PermitBook } from '../server/enroll/tokens.ts';
import { failpoint } from '../server/failpoints.ts';
import type { ServerParts } from '../server/parts.ts';
import { permitBatch, permitSpent } from '../server/spanner/kinds/enroll.ts';
import { type Answer, answers, type LinkSession } from '../server/spanner/link.ts';
import type { PermitRow } from '../server/store/permits.ts';
import type { Tables } from '../server/store/store.ts';

const TELL_AT_ONCE = 200;

type Parts = Pick<ServerParts, 'clock' | 'identity' | 'log' | 'revocations' | 'settings' | 'store' | 'trail'>;

export class SpokePermits implements PermitBook {
  readonly answers: readonly Answer[];
  readonly #parts: Parts;
  readonly #hub: () => LinkSession | undefined;

  constructor(parts: Parts, hub: () => LinkSession | undefined) {
    this.#parts = parts;
    this.#hub = hub;
    this.answers = [
      answers(permitBatch, async ({ permits, used }) => {
        await this.#keep(permits, used);
        const held = await this.#usable();
        return { held: held.map(({ id }) => id).slice(0, 2000), wanted: parts.settings.spanner.offline_enroll_tokens };
      }),
    ];
  }

  async #usable(): Promise<readonly PermitRow[]> {
    const { store, identity, clock } = this.#parts;
    return await store.permits.usable(identity.siteId, clock.now());
  }

  #open(signed: SignedPermit) {
    const { identity, revocations, clock } = this.#parts;
    return openPermit(signed, {
      rootPublicKey: identity.rootPublicKey,
      fleetId: identity.fleetId,
      siteId: identity.siteId,
      revokedSerials: revocations.serials,
      now: clock.now(),
    });
  }

  /** Only those that hold are kept. @throws CodedError BUNDLE_REJECTED: none of the batch is kept then */
  async #keep(permits: readonly SignedPermit[], used: readonly string[]): Promise<void> {
    const { store, identity, clock } = this.#parts;
    const rows = permits.map((signed) => {
      const { permit_id: id, not_after: notAfter } = this.#open(signed);
      return { id, site: identity.siteId, record: JSON.stringify(signed), notAfter, spentAt: 0, spentFor: '', pattern: '' };
    });
    await store.transaction(async (tx) => {
      await tx.permits.add(rows);
      for (const id of used) await tx.permits.spend(id, { tokenId: '', pattern: '', at: clock.now() });
      await tx.permits.told(used);
    });
  }

  async left(): Promise<number> {
    return (await this.#usable()).length;
  }

  async require(count: number): Promise<void> {
    const left = await this.left();
    if (left < count) throw tooFew(left, this.#parts.settings.spanner.offline_enroll_tokens, this.#hub() !== undefined);
  }

  async take(tx: Tables, tokenId: string, pattern: string): Promise<{ readonly id: string; readonly notAfter: number }> {
    const { identity, clock, log, settings } = this.#parts;
    const now = clock.now();
    for (const row of await tx.permits.usable(identity.siteId, now)) {
      try {
        // the table is not trusted with it: what counts is what the hub signed
        const permit = this.#open(JSON.parse(row.record) as SignedPermit);
        if (permit.permit_id !== row.id) throw new CodedError('BUNDLE_REJECTED', 'the permit has another id than its row');
        if (!(await tx.permits.spend(row.id, { tokenId, pattern, at: now }))) continue;
        failpoint('site.permit.taken');
        return { id: row.id, notAfter: permit.not_after };
      } catch (thrown) {
        if (!(thrown instanceof CodedError) && !(thrown instanceof SyntaxError)) throw thrown;
        log.error('a permit does not hold', { permit: row.id, error: messageOf(thrown) });
      }
    }
    throw tooFew(0, settings.spanner.offline_enroll_tokens, this.#hub() !== undefined);
  }

  used(): void {
    const hub = this.#hub();
    if (hub !== undefined) this.linked(hub);
  }

  linked(hub: LinkSession): void {
    this.tell(hub).catch((thrown: unknown) => this.#parts.log.warn('the hub was not told of permits', { error: thrown }));
  }

  /** What the hub has not acknowledged; after that it gives new ones. */
  async tell(hub: LinkSession): Promise<void> {
    const { store } = this.#parts;
    for (;;) {
      const rows = await store.permits.untold(TELL_AT_ONCE);
      if (rows.length === 0) return;
      const spent = rows.map(({ id, spentFor, pattern, spentAt }) => ({ id, token_id: spentFor, pattern, at: spentAt }));
      await hub.request(permitSpent, { spent });
      await store.permits.told(rows.map(({ id }) => id));
    }
  }
}

function tooFew(left: number, wanted: number, linked: boolean): CodedError {
  const hint =
    wanted === 0
      ? 'spanner.offline_enroll_tokens is 0 here: make tokens at the hub'
      : linked
        ? 'the hub gives more in a moment; tokens made at the hub work here too'
        : 'the hub gives more when it is back';
  return new CodedError('PRECONDITION_FAILED', `this spoke has ${left} permits left to make enrolment tokens`, { hint });
}
