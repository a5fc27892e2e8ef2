/** A site takes the revocations that its hub tells, and tells its own. */
import type { ServerParts } from '../../parts.ts';
import { revocationsKind } from '../kinds/trust.ts';
import { type Answer, answers } from '../link.ts';

export function trustAnswers({ revocations }: Pick<ServerParts, 'revocations'>): readonly Answer[] {
  return [
    answers(revocationsKind, async ({ records }) => {
      revocations.add(records);
      return { records: [...revocations.records] };
    }),
  ];
}
