/** Keeps a service running or stopped, and its boot state. */
import type { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { service as spec } from '../../core/resources/service.ts';
import { backend } from '../platform/backend.ts';
import type { ServiceManager, ServiceState } from '../platform/platform.ts';
import { type Change, defineExecutor, type ExecutorContext } from './executor.ts';
import { shellCommand } from './shell.ts';

type Want = z.output<typeof spec.attributes>;

const acts = (want: Want) => want.state === 'restarted' || want.state === 'reloaded';

export const service = defineExecutor(spec, {
  eventful: acts,
  verb: () => 'updated',

  async check(want, context) {
    const state = await stateOf(want, managerOf(want, context), context);
    const changes: Change[] = [];
    if (want.masked !== undefined && want.masked !== state.masked)
      changes.push({ attribute: 'masked', from: state.masked, to: want.masked });
    if (acts(want)) changes.push({ attribute: 'state', from: state.running ? 'running' : 'stopped', to: want.state });
    else if (state.running !== (want.state === 'running'))
      changes.push({ attribute: 'state', from: state.running ? 'running' : 'stopped', to: want.state });
    if (want.enabled !== undefined && state.enabled !== undefined && want.enabled !== state.enabled)
      changes.push({ attribute: 'enabled', from: state.enabled, to: want.enabled });
    return changes;
  },

  async apply(want, changes, context) {
    const manager = managerOf(want, context);
    const change = (attribute: string) => changes.find((one) => one.attribute === attribute);
    if (change('masked')?.to === false) await manager.act(want.service, 'unmask');
    if (change('enabled') !== undefined) await manager.act(want.service, want.enabled === true ? 'enable' : 'disable');
    const state = change('state');
    if (state !== undefined) await act(want, state.from === 'running', manager, context);
    if (change('masked')?.to === true) await manager.act(want.service, 'mask');
  },
});

async function act(want: Want, running: boolean, manager: ServiceManager, context: ExecutorContext): Promise<void> {
  const { system, signal, timeoutMs } = context;
  if (want.state === 'running') return await manager.act(want.service, 'start');
  if (want.state === 'stopped') return await manager.act(want.service, 'stop');
  const own = want.state === 'restarted' ? want.restart_command : want.reload_command;
  if (own !== undefined) {
    await system.run(shellCommand(own), { signal, timeoutMs });
    return;
  }
  // what does not run cannot reload: it starts with the new configuration instead
  if (want.state === 'reloaded') return await manager.act(want.service, running ? 'reload' : 'start');
  await manager.act(want.service, 'restart');
}

function managerOf(want: Want, { system, platform }: ExecutorContext): ServiceManager {
  const manager = backend(platform.services, 'service manager');
  if (want.start_type !== undefined && system.family !== 'windows')
    throw new CodedError('UNSUPPORTED', 'start_type exists on Windows only');
  if (want.masked !== undefined && manager.name !== 'systemd') throw new CodedError('UNSUPPORTED', 'masked exists with systemd only');
  return manager;
}

/** A unit that is missing counts as stopped where that is all that is wanted, and in a dry run whose earlier resources would bring it. */
async function stateOf(want: Want, manager: ServiceManager, { dryRun }: ExecutorContext): Promise<ServiceState> {
  const state = await manager.state(want.service);
  if (state !== undefined) return state;
  const isFine = want.state === 'stopped' && want.enabled !== true && want.masked !== true;
  if (isFine) return { running: false, enabled: undefined, masked: false };
  if (dryRun) return { running: false, enabled: want.enabled === undefined ? undefined : false, masked: false };
  throw new CodedError('COMMAND_FAILED', `there is no service ${want.service}`);
}
