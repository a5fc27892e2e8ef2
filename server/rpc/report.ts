/** ReportResults, on the main thread: an authenticated request becomes stored runs. */
import { CodedError } from '../../core/base/errors.ts';
import type { EnvoyId } from '../../core/base/ids.ts';
import { codecs } from '../../proto/load.ts';
import type { RunIntake } from '../fleet/run-intake.ts';
import type { Forwarded } from './messages.ts';

const MAX_REPORTS = 50;

export async function reportResults(call: Forwarded, intake: RunIntake): Promise<Buffer> {
  let request: ReturnType<typeof codecs.reportResultsRequest.decode>;
  try {
    request = codecs.reportResultsRequest.decode(call.payload);
  } catch (cause) {
    throw new CodedError('BAD_REQUEST', 'the report does not parse', { cause });
  }
  if (request.reports.length > MAX_REPORTS) throw new CodedError('TOO_LARGE', `at most ${MAX_REPORTS} reports travel together`);
  const heartbeat = Buffer.from(request.heartbeat_hash).toString('hex');
  if (request.reports.length === 0) return codecs.reportResultsReply.encode({ results: [intake.heartbeat(call.slot, heartbeat)] });
  const results = await intake.take(call.slot, call.envoyId as EnvoyId, request.reports);
  if (heartbeat !== '') intake.remember(call.slot, heartbeat);
  return codecs.reportResultsReply.encode({ results });
}
