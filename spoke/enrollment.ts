/** Enrolment at a spoke: with its own tokens as everywhere; with a token that it does not know, by the word of its hub. */
import type { EnrollRequest } from '../core/api/enroll.ts';
import { CodedError, messageOf } from '../core/base/errors.ts';
import type { EnrollResult } from '../server/enroll/creation.ts';
import { provenKey, requireClock, requireHostname } from '../server/enroll/request.ts';
import { parseToken } from '../server/enroll/tokens.ts';
import { Turns } from '../server/enroll/turns.ts';
import type { ServerParts } from '../server/parts.ts';
import { tokenSpend, tokenUnspend } from '../server/spanner/kinds/enroll.ts';
import type { LinkSession } from '../server/spanner/link.ts';
import { isClearRefusal, makeOrdered } from '../server/spanner/site/enroll.ts';

/** An agent waits 30 s. */
const ASK_MS = 20_000;

type Parts = Pick<ServerParts, 'clock' | 'creation' | 'enrollment' | 'log' | 'store'>;

export class SpokeEnrollment {
  readonly #parts: Parts;
  readonly #hub: () => LinkSession | undefined;
  readonly #turns = new Turns();

  constructor(parts: Parts, hub: () => LinkSession | undefined) {
    this.#parts = parts;
    this.#hub = hub;
  }

  /** @throws CodedError as listed in server.md §6.6 */
  async enroll(request: EnrollRequest, address: string): Promise<EnrollResult> {
    const { store, enrollment, clock } = this.#parts;
    if (request.token === undefined || !(await this.#mayBeOfTheHub(request.token))) return await enrollment.enroll(request, address);
    requireHostname(request.hostname);
    requireClock(request.timestamp_ms, clock.now());
    const wanted = { request, key: provenKey(request), address };
    return await this.#turns.take(request.hostname, async () => {
      const hub = this.#hub();
      if (hub === undefined) throw hubAway('there is no link to it');
      const { token, again, fallback } = await hub
        .request(tokenSpend, { request, address }, { deadlineMs: ASK_MS })
        .catch((thrown: unknown) => {
          const lost = thrown instanceof CodedError && (thrown.code === 'SPOKE_UNAVAILABLE' || thrown.code === 'DEADLINE');
          throw lost ? hubAway(thrown.message) : thrown;
        });
      try {
        return await makeOrdered({ creation: this.#parts.creation, store }, { ...wanted, fallback }, token.labels, again);
      } catch (thrown) {
        if (!again && isClearRefusal(thrown)) await this.#giveBack(hub, token.id, wanted.key.fingerprint);
        throw thrown;
      }
    });
  }

  /** Well-formed, and none of ours. */
  async #mayBeOfTheHub(text: string): Promise<boolean> {
    try {
      return (await this.#parts.store.tokens.byId(parseToken(text).id)) === undefined;
    } catch (thrown) {
      if (thrown instanceof CodedError && thrown.code === 'TOKEN_UNKNOWN') return false;
      throw thrown;
    }
  }

  async #giveBack(hub: LinkSession, tokenId: string, fingerprint: string): Promise<void> {
    try {
      await hub.request(tokenUnspend, { token_id: tokenId, key_fingerprint: fingerprint }, { deadlineMs: ASK_MS });
    } catch (thrown) {
      // it stays with these keys, which may come again
      this.#parts.log.warn('the hub did not take a token back', { token: tokenId, error: messageOf(thrown) });
    }
  }
}

function hubAway(why: string): CodedError {
  return new CodedError('SPOKE_UNAVAILABLE', `the token is none of this site, and the hub that may know it cannot be reached: ${why}`, {
    hint: 'tokens made at this site work: vigocli tokens create',
    retryAfterSeconds: 5,
  });
}
