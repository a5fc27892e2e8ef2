/** Envoys that the hub orders: the site makes them with its own CA and signs the answer itself. */
import { CodedError, type ErrorCode } from '../../../core/base/errors.ts';
import type { EnrollResult, EnvoyCreation, Wanted } from '../../enroll/creation.ts';
import { provenKey, requireHostname } from '../../enroll/request.ts';
import { Turns } from '../../enroll/turns.ts';
import { failpoint } from '../../failpoints.ts';
import type { EnvoyStore } from '../../store/store.ts';
import { enrollCreate } from '../kinds/enroll.ts';
import { type Answer, answers } from '../link.ts';

export interface OrderedParts {
  readonly creation: EnvoyCreation;
  readonly store: { readonly envoys: Pick<EnvoyStore, 'byKey'> };
}

/** With these nobody can say whether something was written. */
const UNCLEAR: readonly ErrorCode[] = ['DATABASE_FAILED', 'INTERNAL', 'STORE_UNAVAILABLE'];

/** Nothing was made, for a reason that is known. */
export function isClearRefusal(thrown: unknown): thrown is CodedError {
  return thrown instanceof CodedError && !UNCLEAR.includes(thrown.code);
}

/** The envoy of these keys: made now, or there since an order whose answer was lost. @throws CodedError as creation */
export async function makeOrdered(
  { creation, store }: OrderedParts,
  wanted: Wanted,
  labels: Readonly<Record<string, string>> | undefined,
  again: boolean,
): Promise<EnrollResult> {
  if (again) {
    const known = await store.envoys.byKey(wanted.key.identityKey);
    if (known !== undefined && known.hostname === wanted.request.hostname && (known.status === 'active' || known.status === 'pending'))
      return await creation.answerAgain(wanted, known);
  }
  // the hub spent the token before it ordered
  return await creation.create(wanted, labels === undefined ? undefined : { labels, spend: () => Promise.resolve() });
}

export function answerEnrollCreate(parts: OrderedParts): Answer {
  // an order and its repetition never run beside each other
  const turns = new Turns();
  return answers(enrollCreate, ({ request, address, token, again, fallback }) =>
    turns.take(request.hostname, async () => {
      try {
        requireHostname(request.hostname);
        const wanted = { request, key: provenKey(request), address, fallback };
        const result = await makeOrdered(parts, wanted, token?.labels, again);
        failpoint('site.enroll.made');
        return result.status === 'enrolled' ? result : { status: 'pending' as const, enrollment_id: result.enrollmentId };
      } catch (thrown) {
        if (!isClearRefusal(thrown)) throw thrown;
        return { status: 'refused' as const, code: thrown.code, message: thrown.message, hint: thrown.hint ?? null };
      }
    }),
  );
}
