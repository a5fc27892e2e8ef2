/** `vigocli envoys approve`, `reject`. */
import { z } from 'zod';
import { approveEnrollment, listPending, rejectEnrollment } from '../../../core/api/enrollments.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { flag } from '../../../core/command/flags.ts';
import { escapeCell, printFields } from '../../../core/command/output.ts';
import type { ApiClient } from '../../api-client.ts';
import { cliCommand, confirmed, withClient } from '../../globals.ts';

/** The waiting enrolment by id, unique prefix of it, or host name. */
async function findWaiting(client: ApiClient, name: string) {
  const { items } = await client.call(listPending, { query: { limit: 1000 } });
  const hits = items.filter(({ id, hostname }) => id === name || hostname === name || (name.length >= 4 && id.startsWith(name)));
  if (hits.length === 0) throw new CodedError('NOT_FOUND', `no enrolment "${name}" waits`, { hint: 'vigocli envoys pending' });
  if (hits.length > 1) throw new CodedError('AMBIGUOUS_NAME', `"${name}" fits ${hits.length} waiting enrolments`, { hint: 'give the id' });
  return hits[0]!;
}

export const envoysApprove = cliCommand({
  name: ['envoys', 'approve'],
  summary: 'approves a waiting enrolment',
  flags: z.object({ forceKey: flag.text('fingerprint of the new key, when a live envoy holds the host name', { value: 'fingerprint' }) }),
  positional: [{ name: 'id', summary: 'id or host name of the enrolment' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const waiting = await findWaiting(client, input.args[0]!);
      if (output.form !== 'json') {
        io.err(
          `hostname     ${escapeCell(waiting.hostname)}\naddress      ${escapeCell(waiting.address)}\nnew key      ${waiting.fingerprint}\n`,
        );
        if (waiting.held_by_fingerprint !== null) io.err(`present key  ${waiting.held_by_fingerprint}\n`);
      }
      if (!(await confirmed(input, io, 'approve?'))) throw new CodedError('USAGE', 'not confirmed', { hint: '--yes answers the question' });
      const reply = await client.call(approveEnrollment, {
        params: { id: waiting.id },
        body: { force_key_fingerprint: input.flags.forceKey },
      });
      printFields(
        io,
        output,
        [
          ['approved', `${reply.hostname} ${reply.id}`],
          ['replaced', reply.replaced],
        ],
        reply,
      );
      return 0;
    }),
});

export const envoysReject = cliCommand({
  name: ['envoys', 'reject'],
  summary: 'rejects a waiting enrolment',
  flags: z.object({ reason: flag.text('kept in the audit log') }),
  positional: [{ name: 'id', summary: 'id or host name of the enrolment' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const waiting = await findWaiting(client, input.args[0]!);
      const reply = await client.call(rejectEnrollment, { params: { id: waiting.id }, body: { reason: input.flags.reason } });
      printFields(io, output, [['rejected', `${reply.hostname} ${reply.id}`]], reply);
      return 0;
    }),
});
