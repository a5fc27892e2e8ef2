/** What an operating system offers, one small interface a subject; backends live beside this file, chosen in agent/system/choose-platform.ts. */

export type ServiceVerb = 'start' | 'stop' | 'restart' | 'reload' | 'enable' | 'disable' | 'mask' | 'unmask';

export interface ServiceManager {
  readonly name: string;
  /** undefined: no such unit */
  state(unit: string): Promise<{ readonly running: boolean; readonly enabled: boolean; readonly masked: boolean } | undefined>;
  act(unit: string, verb: ServiceVerb): Promise<void>;
}

export interface PackageManager {
  readonly name: string;
  /** the installed version, or undefined */
  installed(pkg: string): Promise<string | undefined>;
  /** the version that an install or upgrade would bring, or undefined */
  candidate(pkg: string): Promise<string | undefined>;
  /** held back from upgrades */
  held(pkg: string): Promise<boolean>;
  /** a given version, or the newest one. @throws CodedError BLOCKED when repository, lock, key or disk stand in the way */
  install(pkg: string, version?: string): Promise<void>;
  remove(pkg: string, options: { readonly purge: boolean }): Promise<void>;
  hold(pkg: string, held: boolean): Promise<void>;
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
  /** the whole table of a user, '' when there is none */
  read(user: string): Promise<string>;
  write(user: string, table: string): Promise<void>;
}

/** undefined member = this machine has no backend for the subject: UNSUPPORTED */
export interface Platform {
  readonly services: ServiceManager | undefined;
  readonly packages: PackageManager | undefined;
  readonly accounts: AccountDatabase | undefined;
  readonly cron: CronTables | undefined;
}
