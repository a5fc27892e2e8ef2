/** The machine this process runs on (Linux). */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';
import { type Argv, FIXED_PATH, findCommand, runCommand, startCommand } from './local-commands.ts';
import { isAlive, LocalFiles } from './local-files.ts';
import type { CommandResult, RunOptions, System } from './system.ts';

export class LocalSystem extends LocalFiles implements System {
  readonly family = 'linux';
  readonly #privateFolder: string;
  #privateReady: Promise<string> | undefined;

  /** `privateFolder` is made on first use; by default in memory. */
  constructor(options: { readonly privateFolder?: string } = {}) {
    super();
    this.#privateFolder = options.privateFolder ?? '/run/vigo-private';
  }

  async run(argv: Argv, options: RunOptions = {}): Promise<CommandResult> {
    const result = await runCommand(await this.#wrap(argv, options), options, await this.#environment(options));
    const accepted = options.okCodes ?? [0];
    if (accepted === 'any' || accepted.includes(result.code)) return result;
    throw new CodedError('COMMAND_FAILED', `${argv[0]} ended with ${result.code}${lastLine(result)}`, {
      details: { exitCode: result.code },
    });
  }

  async start(argv: Argv, options: RunOptions = {}): Promise<void> {
    await startCommand(await this.#wrap(argv, options), options, await this.#environment(options));
  }

  async hasCommand(name: string): Promise<boolean> {
    return (await findCommand(name)) !== undefined;
  }

  async privateFolder(): Promise<string> {
    this.#privateReady ??= this.#openPrivateFolder();
    return await this.#privateReady;
  }

  now(): number {
    return Date.now();
  }

  /** Runs as another account and at another priority through the system's own tools, so that groups and limits are right. */
  async #wrap(argv: Argv, { user, nice }: RunOptions): Promise<Argv> {
    const priority: string[] = [];
    if (nice !== undefined && nice !== 0) {
      priority.push('nice', '-n', String(nice));
      if (nice > 0 && (await this.hasCommand('ionice'))) priority.push('ionice', ...(nice >= 15 ? ['-c', '3'] : ['-c', '2', '-n', '7']));
    }
    const as = user === undefined ? [] : await this.#as(user);
    return [...priority, ...as, ...argv] as unknown as Argv;
  }

  async #as(user: string): Promise<string[]> {
    await this.users.idOf(user);
    if (await this.hasCommand('runuser')) return ['runuser', '-u', user, '--'];
    return ['su', '-s', '/bin/sh', user, '-c', 'exec "$0" "$@"'];
  }

  async #environment({ user, env }: RunOptions): Promise<Record<string, string>> {
    const line = await this.users.lineOf(user ?? (await this.users.nameOf(process.getuid?.() ?? 0)));
    const name = line?.[0] ?? user ?? 'root';
    return { PATH: FIXED_PATH, LC_ALL: 'C.UTF-8', HOME: line?.[5] ?? '/', USER: name, LOGNAME: name, SHELL: '/bin/sh', ...env };
  }

  /** One folder a process (nobody can list it, but an account can reach a file of its own), so that only what dead processes left behind is swept away. */
  async #openPrivateFolder(): Promise<string> {
    await mkdir(this.#privateFolder, { recursive: true, mode: 0o711 });
    const stat = await this.stat(this.#privateFolder);
    if (stat?.kind !== 'directory' || (stat.mode & 0o066) !== 0)
      throw new CodedError('BLOCKED', `${this.#privateFolder} is not a private folder`);
    for (const name of await readdir(this.#privateFolder))
      if (!isAlive(Number(name))) await rm(join(this.#privateFolder, name), { recursive: true, force: true });
    const own = join(this.#privateFolder, String(process.pid));
    await mkdir(own, { recursive: true, mode: 0o711 });
    return own;
  }
}

function lastLine({ stdout, stderr }: CommandResult): string {
  const line = (stderr.trim() || stdout.trim()).split('\n').at(-1)?.trim() ?? '';
  return line === '' ? '' : `: ${line.slice(0, 500)}`;
}
