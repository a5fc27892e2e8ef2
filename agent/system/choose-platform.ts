/** Looks once which backends this machine has; a subject without one answers UNSUPPORTED. */
import { Shadow } from '../platform/accounts/shadow.ts';
import { CronD } from '../platform/cron/cron-d.ts';
import { Apt } from '../platform/packages/apt.ts';
import type { Platform } from '../platform/platform.ts';
import { Systemd } from '../platform/services/systemd.ts';
import type { System } from './system.ts';

export async function choosePlatform(system: System): Promise<Platform> {
  if (system.family !== 'linux') return { services: undefined, packages: undefined, accounts: undefined, cron: undefined };
  const hasCron =
    (await system.stat('/etc/cron.d')) !== undefined || (await system.hasCommand('crond')) || (await system.hasCommand('cron'));
  return {
    // what sd_booted(3) looks at
    services: (await system.stat('/run/systemd/system'))?.kind === 'directory' ? new Systemd(system) : undefined,
    packages: (await system.hasCommand('apt-get')) && (await system.hasCommand('dpkg-query')) ? new Apt(system) : undefined,
    accounts: (await system.hasCommand('useradd')) ? new Shadow(system) : undefined,
    cron: hasCron ? new CronD(system) : undefined,
  };
}
