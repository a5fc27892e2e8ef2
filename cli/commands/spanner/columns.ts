/** Spokes as lines and as fields. */
import type { SpokeItem } from '../../../core/api/spanner.ts';
import { type Column, formatTime } from '../../../core/command/output.ts';

const milliseconds = (ms: number | null): string => (ms === null ? '' : `${ms}ms`);

const current = (row: SpokeItem, figure: number | null): number | undefined =>
  row.link.state === 'down' ? undefined : (figure ?? undefined);

/** @param release live at the hub: what the lag is counted from */
export function spokeColumns(release: number): readonly Column<SpokeItem>[] {
  return [
    { title: 'ID', value: (row) => row.id },
    { title: 'STATE', value: (row) => row.state },
    { title: 'LINK', value: (row) => (row.link.state === 'down' ? 'unreachable' : row.link.state) },
    { title: 'RTT', value: (row) => milliseconds(row.link.rtt_ms) },
    { title: 'ENVOYS', value: (row) => row.envoys ?? undefined },
    // what a spoke said before it fell silent is no health: only how many envoys it has outlives the link
    { title: 'OFFLINE', value: (row) => current(row, row.offline) },
    { title: 'CONVERGED%', value: (row) => current(row, row.converged_pct) },
    { title: 'RELEASE', value: (row) => row.release ?? undefined },
    { title: 'LAG', value: (row) => (row.release === null ? undefined : Math.max(0, release - row.release)) },
    { title: 'SINCE', value: (row, output) => formatTime(row.link.since, output) },
    { title: 'ADDR', value: (row) => row.addr, wide: true },
    { title: 'PATTERNS', value: (row) => row.patterns.join(' '), wide: true },
    { title: 'WEIGHT', value: (row) => row.weight, wide: true },
    { title: 'VERSION', value: (row) => row.version ?? '', wide: true },
    { title: 'CLOCK', value: (row) => milliseconds(row.link.clock_offset_ms), wide: true },
    { title: 'AGE', value: (row) => (row.age_s === null ? '' : `${row.age_s}s`), wide: true },
  ];
}
