/** Accounts in /etc/passwd, /etc/group and /etc/shadow, changed by the shadow tools. Hashes go through standard input, never through arguments. */
import type { System } from '../../system/system.ts';
import type { AccountDatabase, GroupRecord, PasswordAging, UserChange, UserRecord } from '../platform.ts';

const DAY_MS = 86_400_000;

function dayText(days: number | null): string {
  return days === null ? '' : new Date(days * DAY_MS).toISOString().slice(0, 10);
}

function days(text: string | undefined): number | undefined {
  return text === undefined || text === '' ? undefined : Number(text);
}

export class Shadow implements AccountDatabase {
  readonly name = 'shadow';
  readonly #system: System;

  constructor(system: System) {
    this.#system = system;
  }

  async user(name: string): Promise<UserRecord | undefined> {
    const entry = (await this.#table('passwd')).find(([key]) => key === name);
    if (entry === undefined) return undefined;
    const [, , uid, gid, comment, home, shell] = entry;
    const shadow = (await this.#table('shadow')).find(([key]) => key === name);
    const stored = shadow?.[1] ?? '';
    const hash = stored.replace(/^!+/, '');
    const groups = (await this.#table('group')).filter((group) => membersOf(group).includes(name)).map(([key]) => key!);
    return {
      name,
      uid: Number(uid),
      gid: Number(gid),
      comment: comment ?? '',
      home: home ?? '',
      shell: shell ?? '',
      groups,
      passwordHash: hash === '' || hash.startsWith('*') ? undefined : hash,
      locked: stored.startsWith('!'),
      expires: days(shadow?.[7]),
      aging: { minDays: days(shadow?.[3]), maxDays: days(shadow?.[4]), warnDays: days(shadow?.[5]) },
    };
  }

  async group(name: string): Promise<GroupRecord | undefined> {
    const entry = (await this.#table('group')).find(([key, , gid]) => key === name || gid === name);
    return entry === undefined ? undefined : { name: entry[0]!, gid: Number(entry[2]), members: membersOf(entry) };
  }

  async addUser(name: string, change: UserChange): Promise<void> {
    // without this, useradd refuses when a group of that name exists
    const primaryGroup = change.primaryGroup ?? ((await this.group(name)) === undefined ? undefined : name);
    const options = this.#options({ ...change, ...(primaryGroup === undefined ? {} : { primaryGroup }) });
    if (change.system === true) options.push('-r');
    options.push(change.createHome === true ? '-m' : '-M');
    await this.#system.run(['useradd', ...options, '--', name]);
    await this.#afterwards(name, change);
  }

  async changeUser(name: string, change: UserChange): Promise<void> {
    const options = this.#options(change);
    if (options.length > 0) await this.#system.run(['usermod', ...options, '--', name]);
    // chpasswd takes the mark of a locked password away with the old hash
    const stays = change.passwordHash !== undefined && change.locked === undefined && (await this.user(name))?.locked === true;
    await this.#afterwards(name, stays ? { ...change, locked: true } : change);
  }

  async removeUser(name: string, { removeHome }: { removeHome: boolean }): Promise<void> {
    // 12: the home could not be removed because it is not there
    await this.#system.run(['userdel', ...(removeHome ? ['-r'] : []), '--', name], { okCodes: removeHome ? [0, 12] : [0] });
  }

  async addGroup(name: string, { gid, system }: { gid?: number; system?: boolean }): Promise<void> {
    await this.#system.run(['groupadd', ...(system === true ? ['-r'] : []), ...(gid === undefined ? [] : ['-g', String(gid)]), '--', name]);
  }

  async changeGroup(name: string, { gid, members }: { gid?: number; members?: readonly string[] }): Promise<void> {
    if (gid !== undefined) await this.#system.run(['groupmod', '-g', String(gid), '--', name]);
    if (members !== undefined) await this.#system.run(['gpasswd', '-M', members.join(','), name]);
  }

  async removeGroup(name: string): Promise<void> {
    await this.#system.run(['groupdel', '--', name]);
  }

  #options(change: UserChange): string[] {
    const options: string[] = [];
    if (change.uid !== undefined) options.push('-u', String(change.uid));
    if (change.primaryGroup !== undefined) options.push('-g', change.primaryGroup);
    if (change.groups !== undefined) options.push('-G', change.groups.join(','));
    if (change.comment !== undefined) options.push('-c', change.comment);
    if (change.home !== undefined) options.push('-d', change.home);
    if (change.shell !== undefined) options.push('-s', change.shell);
    if (change.expires !== undefined) options.push('-e', dayText(change.expires));
    return options;
  }

  async #afterwards(name: string, change: UserChange): Promise<void> {
    if (change.passwordHash !== undefined) await this.#system.run(['chpasswd', '-e'], { stdin: `${name}:${change.passwordHash}\n` });
    if (change.locked !== undefined) await this.#system.run(['usermod', change.locked ? '-L' : '-U', '--', name]);
    const aging = agingOptions(change.aging ?? {});
    if (aging.length > 0) await this.#system.run(['chage', ...aging, '--', name]);
  }

  async #table(file: 'passwd' | 'group' | 'shadow'): Promise<string[][]> {
    const text = (await this.#system.readFile(`/etc/${file}`))?.toString('utf8') ?? '';
    return text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.split(':'));
  }
}

function membersOf(group: readonly string[]): string[] {
  return (group[3] ?? '').split(',').filter((member) => member !== '');
}

function agingOptions({ maxDays, minDays, warnDays }: PasswordAging): string[] {
  const pairs: [string, number | undefined][] = [
    ['-M', maxDays],
    ['-m', minDays],
    ['-W', warnDays],
  ];
  return pairs.flatMap(([option, value]) => (value === undefined ? [] : [option, String(value)]));
}
