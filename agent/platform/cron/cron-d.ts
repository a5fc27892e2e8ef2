/** Jobs as files of their own in /etc/cron.d. */
import type { System } from '../../system/system.ts';
import type { CronTables } from '../platform.ts';

export class CronD implements CronTables {
  readonly name = 'cron.d';
  readonly #system: System;

  constructor(system: System) {
    this.#system = system;
  }

  path(job: string): string {
    return `/etc/cron.d/${job}`;
  }

  async read(job: string): Promise<string | undefined> {
    return (await this.#system.readFile(this.path(job)))?.toString('utf8');
  }

  /** cron refuses files that others than root may write. */
  async write(job: string, text: string): Promise<void> {
    await this.#system.makeDirectory('/etc/cron.d', {});
    await this.#system.writeFile(this.path(job), text, { mode: 0o644, owner: 'root', group: 'root' });
  }

  async remove(job: string): Promise<void> {
    await this.#system.remove(this.path(job));
  }
}
