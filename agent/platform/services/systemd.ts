/** Services of systemd. */
import type { System } from '../../system/system.ts';
import type { ServiceManager, ServiceState, ServiceVerb } from '../platform.ts';

/** Boot states that `systemctl enable` and `disable` can change. */
const SWITCHABLE: Readonly<Record<string, boolean>> = { enabled: true, 'enabled-runtime': true, linked: false, disabled: false };

export class Systemd implements ServiceManager {
  readonly name = 'systemd';
  readonly #system: System;

  constructor(system: System) {
    this.#system = system;
  }

  async state(unit: string): Promise<ServiceState | undefined> {
    const shown = await this.#show(unit, 'LoadState,ActiveState,UnitFileState');
    const load = shown.get('LoadState');
    if (load === undefined || load === 'not-found') return undefined;
    const file = shown.get('UnitFileState') ?? '';
    const active = shown.get('ActiveState');
    return {
      running: active === 'active' || active === 'reloading',
      enabled: file === 'generated' ? await this.#scriptEnabled(unit) : file.startsWith('masked') ? false : SWITCHABLE[file],
      masked: load === 'masked' || file.startsWith('masked'),
    };
  }

  async act(unit: string, verb: ServiceVerb): Promise<void> {
    if (verb === 'start' || verb === 'restart' || verb === 'reload') {
      const stale = (await this.#show(unit, 'NeedDaemonReload')).get('NeedDaemonReload') === 'yes';
      if (stale) await this.#system.run(['systemctl', 'daemon-reload']);
    }
    await this.#system.run(['systemctl', verb, '--', unit]);
  }

  async #show(unit: string, properties: string): Promise<ReadonlyMap<string, string>> {
    const { stdout } = await this.#system.run(['systemctl', 'show', '-p', properties, '--', unit]);
    return new Map(
      stdout.split('\n').flatMap((line): [string, string][] => {
        const at = line.indexOf('=');
        return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1).trim()]];
      }),
    );
  }

  /** Old init scripts: systemd asks the distribution's own tool. */
  async #scriptEnabled(unit: string): Promise<boolean> {
    return (await this.#system.run(['systemctl', 'is-enabled', '--', unit], { okCodes: 'any' })).code === 0;
  }
}
