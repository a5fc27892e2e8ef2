/** Keeps the host name, as it is now and as it will be after a restart. */
import { hostname as spec } from '../../core/resources/hostname.ts';
import { type Change, defineExecutor } from './executor.ts';

const FILE = '/etc/hostname';

export const hostname = defineExecutor(spec, {
  async check(want, { system }) {
    const kept = (await system.readFile(FILE))?.toString('utf8').trim() ?? '';
    const now = (await system.run(['hostname'])).stdout.trim();
    const changes: Change[] = [];
    if (now !== want.hostname) changes.push({ attribute: 'hostname', from: now, to: want.hostname });
    if (kept !== want.hostname) changes.push({ attribute: 'after_restart', from: kept, to: want.hostname });
    return changes;
  },

  async apply(want, _changes, context) {
    const { system, platform } = context;
    if (platform.services?.name === 'systemd' && (await system.hasCommand('hostnamectl'))) {
      await system.run(['hostnamectl', 'set-hostname', want.hostname]);
      return;
    }
    await context.snapshot(FILE, 'updated');
    await system.writeFile(FILE, `${want.hostname}\n`, { mode: 0o644 });
    await system.run(['hostname', want.hostname]);
  },
});
