/** The commands of `vigo`, sorted by name. */
import type { Command } from '../../core/command/command.ts';
import { bootstrap } from './bootstrap.ts';
import { daemon } from './daemon.ts';
import { doctor } from './doctor.ts';
import type { AgentGlobals } from './globals.ts';
import { register } from './register.ts';
import { run } from './run.ts';
import { snapshotsDiff, snapshotsList, snapshotsRestore, snapshotsShow } from './snapshots.ts';
import { status } from './status.ts';
import { traits } from './traits.ts';
import { version } from './version.ts';

export const COMMANDS: readonly Command<AgentGlobals>[] = [
  bootstrap,
  daemon,
  doctor,
  register,
  run,
  snapshotsDiff,
  snapshotsList,
  snapshotsRestore,
  snapshotsShow,
  status,
  traits,
  version,
];
