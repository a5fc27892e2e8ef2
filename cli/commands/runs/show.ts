/** `vigocli runs show`. */
import { z } from 'zod';
import { getRun } from '../../../core/api/runs.ts';
import { flag } from '../../../core/command/flags.ts';
import { type Column, escapeText, formatJson, formatTable, formatTime, printFields } from '../../../core/command/output.ts';
import { classOf, type Outcome } from '../../../core/policy/outcome.ts';
import { cliCommand, withClient } from '../../globals.ts';

function shortText(value: Outcome['changes'][number]['from']): string {
  if (value === null) return 'nothing';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** What differed from the policy, attribute by attribute: the reason of the change. */
function changesOf({ changes }: Outcome): string {
  return changes.map(({ attribute, from, to }) => `${attribute}: ${shortText(from)} → ${shortText(to)}`).join(', ');
}

const COLUMNS: readonly Column<Outcome>[] = [
  { title: 'MODULE', value: (row) => row.module },
  { title: 'RESOURCE', value: (row) => row.name },
  { title: 'TYPE', value: (row) => row.type },
  { title: 'ACTION', value: (row) => (row.would ? `would be ${row.action}` : row.action) },
  { title: 'REASON', value: (row) => row.reason },
  { title: 'MS', value: (row) => Math.round(row.duration_ms) },
  { title: 'CHANGES', value: changesOf },
  { title: 'MESSAGE', value: (row) => row.message },
];

export const runsShow = cliCommand({
  name: ['runs', 'show'],
  summary: 'shows a run, resource by resource',
  flags: z.object({ failedOnly: flag.on('only failed and blocked resources'), envoy: flag.text('when two envoys have a run of this id') }),
  positional: [{ name: 'id', summary: 'id of the run' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const run = await client.call(getRun, {
        params: { id: input.args[0]! },
        query: { envoy: input.flags.envoy, spoke: input.globals.spoke },
      });
      const outcomes = input.flags.failedOnly
        ? run.outcomes.filter(({ action }) => ['failed', 'blocked'].includes(classOf(action)))
        : run.outcomes;
      if (output.form === 'json') {
        io.out(formatJson({ ...run, outcomes }));
        return 0;
      }
      printFields(
        io,
        output,
        [
          ['run', run.id],
          ['envoy', `${run.hostname} ${run.envoy_id}`],
          ['started', `${formatTime(run.started_at, output)}, ${run.duration_ms} ms`],
          ['mode', run.partial === '' ? run.mode : `${run.mode} (${run.partial})`],
          ['release', run.release],
          ['flags', run.flags.join(', ')],
          ['refused bundle', run.bundle_rejected],
          ['resources', `${run.ok} ok, ${run.changed} changed, ${run.failed} failed, ${run.blocked} blocked, ${run.skipped} skipped`],
        ],
        run,
      );
      if (!run.detailed) io.err('the details of this run are past their retention\n');
      if (outcomes.length > 0) io.out(`\n${formatTable(COLUMNS, outcomes, output)}`);
      for (const { module, name, output: text } of outcomes)
        if (text !== undefined && text !== '') io.out(`\n${escapeText(`${module}/${name}`)}:\n${escapeText(text.trimEnd())}\n`);
      return 0;
    }),
});
