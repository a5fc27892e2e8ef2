/** How findings and results of publishing are shown. */
import type { Finding, PublishResult } from '../../../core/api/config.ts';
import { formatProblem } from '../../../core/base/problem.ts';
import type { CommandIo, OutputOptions } from '../../../core/command/command.ts';
import { escapeCell, formatJson } from '../../../core/command/output.ts';

/** To standard error, one line each. Answers how many are errors. */
export function printFindings(io: CommandIo, findings: readonly Finding[]): number {
  for (const finding of findings) io.err(`${escapeCell(formatProblem(finding))}\n`);
  return findings.filter(({ severity }) => severity === 'error').length;
}

export function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

/** Exit code of a publish or rollback. */
export function printPublish(io: CommandIo, output: OutputOptions, result: PublishResult): number {
  if (output.form === 'json') io.out(formatJson(result));
  else {
    printFindings(io, result.findings);
    const { added, changed, removed } = result.files;
    for (const [mark, files] of [
      ['+', added],
      ['~', changed],
      ['-', removed],
    ] as const)
      for (const file of files) io.out(`${mark} ${escapeCell(file)}\n`);
    const { impact } = result;
    if (result.status !== 'nothing')
      io.out(
        `${plural(impact.envoys, 'envoy')}, ${plural(impact.entries, 'entry').replace('entrys', 'entries')} affected, ${impact.unmatched} unmatched\n`,
      );
    for (const line of impact.lines) io.out(`  ${escapeCell(line)}\n`);
    if (result.message !== undefined) io.out(`${escapeCell(result.message)}\n`);
    if (result.status === 'live') io.out(`release ${result.number} is live, version ${result.version}, root ${result.root}\n`);
    else if (result.status === 'nothing') io.out('nothing to publish: the stage is live\n');
    else if (result.status === 'dry_run') io.out(`dry run: nothing was published, root ${result.root}\n`);
    else if (result.status === 'pending') io.out(`waits for approval, root ${result.root}\n`);
  }
  return result.status === 'refused' ? 1 : result.status === 'pending' ? 3 : 0;
}
