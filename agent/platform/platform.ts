/** What an operating system offers, one small interface a subject; backends live beside this file, chosen in agent/system/choose-platform.ts. */

export type ServiceVerb = 'start' | 'stop' | 'restart' | 'reload' | 'enable' | 'disable' | 'mask' | 'unmask';

export interface ServiceState {
  readonly running: boolean;
  /** undefined: the unit has no boot state of its own */
  readonly enabled: boolean | undefined;
  readonly masked: boolean;
}

export interface ServiceManager {
  readonly name: string;
  /** undefined: no such unit */
  state(unit: string): Promise<ServiceState | undefined>;
  act(unit: string, verb: ServiceVerb): Promise<void>;
}

export interface PackageVersion {
  readonly name: string;
  readonly version?: string;
}

export interface InstallOptions {
  readonly allowDowngrade: boolean;
  /** further arguments of the tool */
  readonly flags: readonly string[];
}

export interface PackageManager {
  readonly name: string;
  /** the installed version, or undefined */
  installed(pkg: string): Promise<string | undefined>;
  /** held back from upgrades */
  held(pkg: string): Promise<boolean>;
  /** those installed packages that have a newer version to be had: name → that version */
  upgrades(packages: readonly string[] | 'everything'): Promise<ReadonlyMap<string, string>>;
  /** all in one go, each at its version or the newest. @throws CodedError BLOCKED when repository, lock, key or disk stand in the way */
  install(wanted: readonly PackageVersion[] | 'everything', options: InstallOptions): Promise<void>;
  remove(packages: readonly string[], options: { readonly purge: boolean; readonly flags: readonly string[] }): Promise<void>;
  hold(pkg: string, held: boolean): Promise<void>;
  /** fetches the lists of packages anew, or removes dependencies that nothing needs any more. @throws CodedError BLOCKED */
  maintain(task: 'refresh' | 'clean_up'): Promise<void>;
  /** all installed packages: name → version */
  list(): Promise<Readonly<Record<string, string>>>;
}

export interface UserRecord {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly comment: string;
  readonly home: string;
  readonly shell: string;
  readonly groups: readonly string[];
  /** the stored hash; undefined when unreadable or none */
  readonly passwordHash: string | undefined;
  readonly locked: boolean;
  /** days since 1970, undefined = never */
  readonly expires: number | undefined;
  readonly aging: PasswordAging;
}

/** Days; undefined = not set (in a change: leave alone). */
export interface PasswordAging {
  readonly maxDays?: number | undefined;
  readonly minDays?: number | undefined;
  readonly warnDays?: number | undefined;
}

export interface GroupRecord {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/** Changes are given as the options of the platform's own tool would name them; absent = leave alone. */
export interface UserChange {
  readonly uid?: number;
  readonly primaryGroup?: string;
  readonly comment?: string;
  readonly home?: string;
  readonly shell?: string;
  /** exact list of supplementary groups */
  readonly groups?: readonly string[];
  readonly passwordHash?: string;
  readonly locked?: boolean;
  readonly system?: boolean;
  readonly createHome?: boolean;
  readonly expires?: number | null;
  readonly aging?: PasswordAging;
}

export interface AccountDatabase {
  readonly name: string;
  user(name: string): Promise<UserRecord | undefined>;
  group(name: string): Promise<GroupRecord | undefined>;
  addUser(name: string, change: UserChange): Promise<void>;
  changeUser(name: string, change: UserChange): Promise<void>;
  removeUser(name: string, options: { readonly removeHome: boolean }): Promise<void>;
  addGroup(name: string, options: { readonly gid?: number; readonly system?: boolean }): Promise<void>;
  changeGroup(name: string, change: { readonly gid?: number; readonly members?: readonly string[] }): Promise<void>;
  removeGroup(name: string): Promise<void>;
}

export interface CronTables {
  readonly name: string;
  /** the file of a named job; undefined when there is none */
  read(job: string): Promise<string | undefined>;
  write(job: string, text: string): Promise<void>;
  remove(job: string): Promise<void>;
  /** where the job lives, for snapshots; undefined when it shares a table with others */
  path(job: string): string | undefined;
}

/** undefined member = this machine has no backend for the subject: UNSUPPORTED */
export interface Platform {
  readonly services: ServiceManager | undefined;
  readonly packages: PackageManager | undefined;
  readonly accounts: AccountDatabase | undefined;
  readonly cron: CronTables | undefined;
}
