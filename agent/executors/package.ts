/** Keeps packages installed, at a version, newest or away. */
import type { z } from 'zod';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import { packageSpec as spec } from '../../core/resources/package.ts';
import { backend } from '../platform/backend.ts';
import type { PackageManager } from '../platform/platform.ts';
import { type Change, defineExecutor, type ExecutorContext } from './executor.ts';

type Want = z.output<typeof spec.attributes>;

const HOLD = ' (hold)';
/** Lists fetched a moment ago are new enough for the next resource of the same run. */
const REFRESH_MS = 300_000;
const refreshedAt = new WeakMap<PackageManager, number>();

export const packageExecutor = defineExecutor(spec, {
  verb(want, changes) {
    if (want.state === 'absent') return 'deleted';
    return changes.some(({ from, attribute }) => from === null && !attribute.endsWith(HOLD)) ? 'created' : 'updated';
  },

  async check(want, context) {
    const manager = managerOf(want, context);
    if (want.state === 'latest' && want.update_cache && !context.dryRun) await refresh(manager, context);
    if (want.package.includes('*')) {
      const upgrades = await manager.upgrades('everything');
      return upgrades.size === 0 ? [] : [{ attribute: '*', from: `${upgrades.size} packages to upgrade`, to: 'upgraded' }];
    }
    const changes: Change[] = [];
    const installed = new Map<string, string>();
    for (const name of want.package) {
      const version = await manager.installed(name);
      if (version !== undefined) installed.set(name, version);
      if (want.state === 'absent') {
        if (version !== undefined) changes.push({ attribute: name, from: version, to: null });
      } else if (version === undefined) changes.push({ attribute: name, from: null, to: want.version ?? 'newest' });
      else if (want.version !== undefined && want.version !== version) changes.push({ attribute: name, from: version, to: want.version });
    }
    if (want.state === 'latest' && installed.size > 0)
      for (const [name, version] of await manager.upgrades([...installed.keys()]))
        changes.push({ attribute: name, from: installed.get(name) ?? null, to: version });
    if (want.lock_version && want.state !== 'absent')
      for (const name of want.package) if (!(await manager.held(name))) changes.push({ attribute: name + HOLD, from: false, to: true });
    return changes;
  },

  async apply(want, changes, context) {
    const manager = managerOf(want, context);
    const names = changes.map(({ attribute }) => attribute).filter((name) => !name.endsWith(HOLD));
    if (names.length > 0) {
      if (want.lock_version) for (const name of names) if (await manager.held(name)) await manager.hold(name, false);
      const flags = want.flags ?? [];
      if (want.state === 'absent') await manager.remove(names, { purge: want.purge, flags });
      else {
        if (want.update_cache) await refresh(manager, context);
        const wanted = names.map((name) => ({ name, ...(want.version === undefined ? {} : { version: want.version }) }));
        await manager.install(names.includes('*') ? 'everything' : wanted, { allowDowngrade: want.allow_downgrade, flags });
      }
    }
    if (want.lock_version && want.state !== 'absent')
      for (const name of want.package) if (!(await manager.held(name))) await manager.hold(name, true);
    if (want.post_cleanup) await cleanUp(manager, context);
  },
});

function managerOf(want: Want, { platform }: ExecutorContext): PackageManager {
  const manager = backend(platform.packages, 'package manager');
  if (want.provider !== undefined && want.provider !== manager.name)
    throw new CodedError('UNSUPPORTED', `provider ${want.provider} is not the package manager of this machine, which is ${manager.name}`);
  if (want.purge && manager.name !== 'apt') throw new CodedError('UNSUPPORTED', `${manager.name} cannot purge configuration`);
  return manager;
}

async function refresh(manager: PackageManager, { system }: ExecutorContext): Promise<void> {
  const now = system.now();
  if (now - (refreshedAt.get(manager) ?? Number.NEGATIVE_INFINITY) < REFRESH_MS) return;
  await manager.maintain('refresh');
  refreshedAt.set(manager, now);
}

async function cleanUp(manager: PackageManager, { log }: ExecutorContext): Promise<void> {
  try {
    await manager.maintain('clean_up');
  } catch (thrown) {
    log.warn('unneeded packages could not be removed', { error: messageOf(thrown) });
  }
}
