/** Packages of Debian and its kin, through dpkg-query and apt-get. */
import { CodedError } from '../../../core/base/errors.ts';
import type { CommandResult, System } from '../../system/system.ts';
import type { InstallOptions, PackageManager, PackageVersion } from '../platform.ts';

const QUIET = { DEBIAN_FRONTEND: 'noninteractive', APT_LISTCHANGES_FRONTEND: 'none', NEEDRESTART_MODE: 'l' };
/** Waits a minute for another apt; keeps configuration files that the owner changed. */
const OPTIONS = [
  '-y',
  '-q',
  '-o',
  'DPkg::Lock::Timeout=60',
  '-o',
  'Dpkg::Options::=--force-confdef',
  '-o',
  'Dpkg::Options::=--force-confold',
];
const TIMEOUT_MS = 1_800_000;

/** What the surroundings, not the package, are to blame for. */
const TROUBLE: readonly (readonly [string, RegExp])[] = [
  ['another program holds the package lock', /could not get lock|unable to (acquire|lock)|is another process using it/i],
  ['an earlier package operation was interrupted', /dpkg was interrupted|--configure -a/i],
  ['a repository key is missing or expired', /NO_PUBKEY|EXPKEYSIG|KEYEXPIRED|is not signed|signatures? (couldn't|could not) be verified/i],
  ['the disk is full or read-only', /no space left|enough free space|read-only file system|disk quota exceeded/i],
  [
    'a repository cannot be reached or is broken',
    /failed to fetch|could not (resolve|connect)|temporary failure resolving|connection (failed|refused|timed out)|does not have a release file|is (not valid yet|expired)|hash sum mismatch|index files failed/i,
  ],
];

export class Apt implements PackageManager {
  readonly name = 'apt';
  readonly #system: System;

  constructor(system: System) {
    this.#system = system;
  }

  async installed(pkg: string): Promise<string | undefined> {
    const { code, stdout } = await this.#system.run(['dpkg-query', '-W', '-f=${db:Status-Abbrev}\\t${Version}\\n', '--', pkg], {
      okCodes: [0, 1],
    });
    if (code !== 0) return undefined;
    const line = stdout.split('\n').find((one) => one[1] === 'i');
    return line?.split('\t')[1]?.trim();
  }

  async held(pkg: string): Promise<boolean> {
    const { stdout } = await this.#system.run(['apt-mark', 'showhold', '--', pkg]);
    return stdout.split('\n').some((line) => line.trim() === pkg);
  }

  async upgrades(packages: readonly string[] | 'everything'): Promise<ReadonlyMap<string, string>> {
    if (packages !== 'everything') return this.#policies(packages);
    const { stdout } = await this.#system.run(['apt-get', '-s', '-q', 'dist-upgrade'], { env: QUIET });
    return new Map(
      stdout.split('\n').flatMap((line): [string, string][] => {
        const found = /^Inst (\S+) \[[^\]]*\] \((\S+)/.exec(line);
        return found === null ? [] : [[found[1]!, found[2]!]];
      }),
    );
  }

  async install(wanted: readonly PackageVersion[] | 'everything', { allowDowngrade, flags }: InstallOptions): Promise<void> {
    const downgrade = allowDowngrade ? ['--allow-downgrades'] : [];
    if (wanted === 'everything') return await this.#apt('dist-upgrade', ...downgrade, ...flags);
    const names = wanted.map(({ name, version }) => (version === undefined ? name : `${name}=${version}`));
    await this.#apt('install', ...downgrade, ...flags, '--', ...names);
  }

  async remove(packages: readonly string[], { purge, flags }: { purge: boolean; flags: readonly string[] }): Promise<void> {
    await this.#apt(purge ? 'purge' : 'remove', ...flags, '--', ...packages);
  }

  async hold(pkg: string, held: boolean): Promise<void> {
    await this.#system.run(['apt-mark', held ? 'hold' : 'unhold', '--', pkg]);
  }

  async maintain(task: 'refresh' | 'clean_up'): Promise<void> {
    if (task === 'clean_up') return await this.#apt('autoremove');
    await this.#apt('update');
  }

  async list(): Promise<Readonly<Record<string, string>>> {
    const { stdout } = await this.#system.run(['dpkg-query', '-W', '-f=${db:Status-Abbrev}\\t${Package}\\t${Version}\\n']);
    const found: [string, string][] = stdout.split('\n').flatMap((line) => {
      const [status, name, version] = line.split('\t');
      return status?.[1] === 'i' && name !== undefined && version !== undefined ? [[name, version]] : [];
    });
    return Object.fromEntries(found);
  }

  async #policies(packages: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const { stdout } = await this.#system.run(['apt-cache', 'policy', '--', ...packages]);
    const upgrades = new Map<string, string>();
    for (const block of stdout.split(/^(?=\S)/m)) {
      const name = /^(\S+):$/m.exec(block)?.[1];
      const installed = /^ {2}Installed: (\S+)$/m.exec(block)?.[1];
      const candidate = /^ {2}Candidate: (\S+)$/m.exec(block)?.[1];
      if (name === undefined || installed === undefined || candidate === undefined) continue;
      if (installed !== '(none)' && candidate !== '(none)' && installed !== candidate) upgrades.set(name, candidate);
    }
    return upgrades;
  }

  async #apt(verb: string, ...words: string[]): Promise<void> {
    const result = await this.#system.run(['apt-get', ...OPTIONS, verb, ...words], { env: QUIET, okCodes: 'any', timeoutMs: TIMEOUT_MS });
    const trouble = troubleOf(result);
    // "update" ends with 0 although a repository failed: old lists are used then
    if (trouble !== undefined && (result.code !== 0 || verb === 'update')) throw new CodedError('BLOCKED', trouble);
    if (result.code !== 0) throw new CodedError('COMMAND_FAILED', `apt-get ${verb} ended with ${result.code}: ${reasonOf(result)}`);
  }
}

function troubleOf(result: CommandResult): string | undefined {
  const found = TROUBLE.find(([, sign]) => sign.test(result.stderr));
  return found === undefined ? undefined : `${found[0]}: ${reasonOf(result)}`;
}

/** The first line that apt marks as an error, else its last word. */
function reasonOf({ stdout, stderr }: CommandResult): string {
  const lines = `${stderr}\n${stdout}`.split('\n').map((line) => line.trim());
  const reason =
    lines.find((line) => line.startsWith('E: ')) ??
    lines.find((line) => line.startsWith('W: ')) ??
    lines.filter((line) => line !== '').at(-1);
  return (reason ?? '').slice(0, 500);
}
