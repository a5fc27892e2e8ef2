/** All resource types, sorted by name. */
import { cron } from './cron.ts';
import type { ResourceSpec } from './define.ts';
import { directory } from './directory.ts';
import { exec } from './exec.ts';
import { file } from './file.ts';
import { fileLine } from './file-line.ts';
import { group } from './group.ts';
import { host } from './host.ts';
import { hostname } from './hostname.ts';
import { packageSpec } from './package.ts';
import { service } from './service.ts';
import { symlink } from './symlink.ts';
import { timezone } from './timezone.ts';
import { user } from './user.ts';

export const RESOURCES: readonly ResourceSpec[] = [
  cron,
  directory,
  exec,
  file,
  fileLine,
  group,
  host,
  hostname,
  packageSpec,
  service,
  symlink,
  timezone,
  user,
];

const BY_TYPE = new Map(RESOURCES.map((spec) => [spec.type, spec]));

export function resourceSpec(type: string): ResourceSpec | undefined {
  return BY_TYPE.get(type);
}
