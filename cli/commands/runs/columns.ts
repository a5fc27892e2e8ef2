/** The columns of run lists. */
import type { RunItem } from '../../../core/api/runs.ts';
import { type Column, formatTime } from '../../../core/command/output.ts';

export const RUN_COLUMNS: readonly Column<RunItem>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'HOSTNAME', value: (row) => row.hostname },
  { title: 'STARTED', value: (row, output) => formatTime(row.started_at, output) },
  { title: 'MS', value: (row) => row.duration_ms },
  { title: 'OK', value: (row) => row.ok },
  { title: 'CHANGED', value: (row) => row.changed },
  { title: 'FAILED', value: (row) => row.failed },
  { title: 'BLOCKED', value: (row) => row.blocked },
  { title: 'SKIPPED', value: (row) => row.skipped },
  { title: 'RELEASE', value: (row) => row.release },
  { title: 'MODE', value: (row) => (row.partial === '' ? row.mode : `${row.mode} (${row.partial})`) },
  { title: 'FLAGS', value: (row) => row.flags.join(','), wide: true },
];
