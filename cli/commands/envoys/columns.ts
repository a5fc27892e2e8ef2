/** The columns of envoy lists. */
import type { EnvoyItem } from '../../../core/api/envoys.ts';
import { type Column, formatTime } from '../../../core/command/output.ts';

export const ENVOY_COLUMNS: readonly Column<EnvoyItem>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'HOSTNAME', value: (row) => row.hostname },
  { title: 'SPOKE', value: (row) => row.spoke },
  { title: 'STATE', value: (row) => (row.status === 'active' ? row.state : row.status) },
  { title: 'LAST-SEEN', value: (row, output) => formatTime(row.last_seen, output) },
  { title: 'RELEASE', value: (row) => (row.release > 0 ? row.release : undefined) },
  { title: 'ENV', value: (row) => row.environment ?? '' },
  { title: 'OS', value: (row) => row.os },
  { title: 'ROLES', value: (row) => row.roles.join(','), wide: true },
  { title: 'DRIFT', value: (row) => row.drift, wide: true },
  { title: 'ADDRESS', value: (row) => row.address, wide: true },
  { title: 'AGENT', value: (row) => row.agent_version, wide: true },
  { title: 'FLAGS', value: (row) => row.flags.join(','), wide: true },
];
