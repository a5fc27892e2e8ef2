/** A run as lines for people on standard error (server.md §4.4). */
import { formatDuration } from '../../core/base/duration.ts';
import { escapeCell } from '../../core/command/output.ts';
import type { Action, Outcome } from '../../core/policy/outcome.ts';
import type { RunTrace } from './run-parts.ts';

const COLORS: Readonly<Record<Action, string>> = {
  created: '32',
  updated: '32',
  deleted: '32',
  none: '2',
  skipped: '2',
  blocked: '33',
  error: '31',
};

export function printTrace(write: (text: string) => void, options: { readonly color: boolean }): RunTrace {
  const paint = (text: string, code: string) => (options.color ? `\u001b[${code}m${text}\u001b[0m` : text);
  return {
    module: (name) => write(`${paint(escapeCell(name), '1')}\n`),
    outcome(outcome) {
      const detail = detailOf(outcome);
      const status = paint(outcome.action, COLORS[outcome.action]);
      const subject = `${outcome.type}[${escapeCell(outcome.name)}]`;
      write(`${status} ${subject}${detail === '' ? '' : ` ${escapeCell(detail)}`} (${outcome.duration_ms} ms)\n`);
    },
    done: ({ ok, changed, failed, blocked, skipped }, durationMs) =>
      write(`${ok} ok, ${changed} changed, ${failed} failed, ${blocked} blocked, ${skipped} skipped in ${formatDuration(durationMs)}\n`),
  };
}

function detailOf({ reason, message, changes, would, triggered }: Outcome): string {
  const words = [
    would ? 'would change' : '',
    triggered ? 'triggered' : '',
    reason ?? '',
    message ?? changes.map(({ attribute }) => attribute).join(', '),
  ];
  return words.filter((word) => word !== '').join(': ');
}
