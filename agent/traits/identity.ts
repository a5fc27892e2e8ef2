/** What identifies the machine and the agent. */
import { createHash } from 'node:crypto';
import type { System } from '../system/system.ts';
import type { TraitCollector } from './collector.ts';
import { fileValue } from './sources.ts';

/** Fingerprints as ssh-keygen prints them. */
async function hostKeys(system: System): Promise<Record<string, string>> {
  const keys: [string, string][] = [];
  for (const name of await system.list('/etc/ssh')) {
    const kind = /^ssh_host_(\w+)_key\.pub$/.exec(name)?.[1];
    const blob = kind === undefined ? undefined : (await fileValue(system, `/etc/ssh/${name}`))?.split(/\s+/)[1];
    if (kind === undefined || blob === undefined) continue;
    const digest = createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64').replace(/=+$/, '');
    keys.push([kind, `SHA256:${digest}`]);
  }
  return Object.fromEntries(keys);
}

export const identity: TraitCollector = {
  name: 'identity',
  refresh: 'stable',
  async collect({ system, envoy }) {
    const known: [string, string | undefined][] = [
      ['machine_id', (await fileValue(system, '/etc/machine-id')) ?? (await fileValue(system, '/var/lib/dbus/machine-id'))],
      ['envoy_id', envoy.id],
      ['boot_id', await fileValue(system, '/proc/sys/kernel/random/boot_id')],
      ['product_uuid', await fileValue(system, '/sys/class/dmi/id/product_uuid')],
    ];
    return {
      ...Object.fromEntries(known.filter((pair): pair is [string, string] => pair[1] !== undefined)),
      ssh_host_keys: await hostKeys(system),
    };
  },
};
