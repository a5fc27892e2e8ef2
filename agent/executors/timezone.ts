/** Keeps the time zone. */
import { CodedError } from '../../core/base/errors.ts';
import { timezone as spec } from '../../core/resources/timezone.ts';
import type { System } from '../system/system.ts';
import { defineExecutor } from './executor.ts';

const LINK = '/etc/localtime';
const NAME_FILE = '/etc/timezone';
const ZONES = '/usr/share/zoneinfo';

/** The zone that is set, by the link that everything reads, else by Debian's file. */
export async function currentZone(system: System): Promise<string | undefined> {
  const target = await system.readLink(LINK);
  const zone = /zoneinfo\/(?:posix\/|right\/)?(.+)$/.exec(target ?? '')?.[1];
  if (zone !== undefined) return zone;
  const named = (await system.readFile(NAME_FILE))?.toString('utf8').trim();
  return named === '' ? undefined : named;
}

export const timezone = defineExecutor(spec, {
  verb: () => 'updated',

  async check(want, { system }) {
    const now = await currentZone(system);
    if (now === want.timezone) return [];
    if ((await system.stat(`${ZONES}/${want.timezone}`)) === undefined)
      throw new CodedError('BLOCKED', `the zone ${want.timezone} is not in ${ZONES}`, { hint: 'is the package tzdata installed?' });
    return [{ attribute: 'timezone', from: now ?? null, to: want.timezone }];
  },

  async apply(want, _changes, { system, platform }) {
    if (platform.services?.name === 'systemd' && (await system.hasCommand('timedatectl'))) {
      await system.run(['timedatectl', 'set-timezone', want.timezone]);
      return;
    }
    await system.makeLink(LINK, `${ZONES}/${want.timezone}`, 'symbolic');
    if ((await system.stat(NAME_FILE)) !== undefined) await system.writeFile(NAME_FILE, `${want.timezone}\n`, {});
  },
});
