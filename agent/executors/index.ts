/** All executors, sorted by type; each enforces the spec of the same name in core/resources. */
import { cron } from './cron.ts';
import { directory } from './directory.ts';
import { exec } from './exec.ts';
import type { Executor } from './executor.ts';
import { file } from './file.ts';
import { fileLine } from './file-line.ts';
import { group } from './group.ts';
import { host } from './host.ts';
import { hostname } from './hostname.ts';
import { packageExecutor } from './package.ts';
import { service } from './service.ts';
import { symlink } from './symlink.ts';
import { timezone } from './timezone.ts';
import { user } from './user.ts';

export const EXECUTORS: readonly Executor[] = [
  cron,
  directory,
  exec,
  file,
  fileLine,
  group,
  host,
  hostname,
  packageExecutor,
  service,
  symlink,
  timezone,
  user,
] as unknown as readonly Executor[];

const BY_TYPE = new Map(EXECUTORS.map((executor) => [executor.spec.type, executor]));

export function executorFor(type: string): Executor | undefined {
  return BY_TYPE.get(type);
}
