/** `audit verify` at a spoke hears its hub too: a log whose end was cut together with its checkpoints fits itself, but not what the hub has seen. */
import { verifyAuditLog } from '../core/api/audit.ts';
import { messageOf } from '../core/base/errors.ts';
import type { ServerParts } from '../server/parts.ts';
import { type Handler, handler } from '../server/rest/handler.ts';
import { auditWitness } from '../server/spanner/kinds/audit.ts';
import type { LinkSession } from '../server/spanner/link.ts';

const DEADLINE_MS = 5_000;

export function witnessedVerify(
  own: readonly Handler[],
  parts: Pick<ServerParts, 'settings' | 'log'>,
  hub: () => LinkSession | undefined,
): readonly Handler[] {
  const plain = own.find(({ contract }) => contract.name === verifyAuditLog.name);
  if (plain === undefined || !parts.settings.audit.witnesses.includes('hub')) return [];
  return [
    handler(verifyAuditLog, async (input) => {
      let notes: readonly string[] = [];
      try {
        const { checkpoint = '' } = (await hub()?.request(auditWitness, {}, { deadlineMs: DEADLINE_MS })) ?? {};
        notes = checkpoint === '' ? [] : [checkpoint];
      } catch (thrown) {
        // without its hub a spoke verifies what it has itself
        parts.log.component('audit').warn('the hub was not heard as a witness', { error: messageOf(thrown) });
      }
      const body = { ...input.body, checkpoints: [...input.body.checkpoints, ...notes] };
      return (await plain.handle({ ...input, body })) as never;
    }),
  ];
}
