/** A machine in memory: real rules for files, and commands that answer from a transcript; an unlisted command is an error. */
import { dirname, join, normalize } from 'node:path';
import type { CommandResult, FileStat, RunOptions, System, WriteAttributes } from '../../agent/system/system.ts';
import { CodedError } from '../../core/base/errors.ts';

interface Node {
  kind: FileStat['kind'];
  data: Buffer;
  mode: number;
  owner: string;
  group: string;
  to?: string;
  modifiedAt: number;
  identity: string;
}

export interface FileGiven {
  readonly kind?: FileStat['kind'];
  readonly content?: string;
  readonly base64?: string;
  readonly mode?: number;
  readonly owner?: string;
  readonly group?: string;
  readonly to?: string;
  /** hard link: the same file as this path */
  readonly sameAs?: string;
}

/** One answer; the word ANY stands for any word; answers to the same argv are used in order, the last one again and again. `files` is what the command does to the machine. */
export interface Answer {
  readonly argv: readonly string[];
  readonly code?: number;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly stdin?: string;
  readonly timeout?: boolean;
  readonly files?: Readonly<Record<string, FileGiven | string | null>>;
}

export interface Ran {
  readonly argv: readonly string[];
  readonly options: RunOptions;
  readonly started?: true;
}

const PASSWD = 'root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n';
const GROUP = 'root:x:0:\nadm:x:4:\nwww-data:x:33:\n';

function ioError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

export class FakeSystem implements System {
  readonly family = 'linux';
  readonly ran: Ran[] = [];
  /** every write fails with this errno name */
  failWrites: string | undefined;
  time = 1_800_000_000_000;
  readonly #nodes = new Map<string, Node>();
  readonly #answers: Answer[];
  readonly #commands: ReadonlySet<string>;
  #lastIdentity = 0;

  constructor(
    given: { files?: Readonly<Record<string, FileGiven | string | null>>; run?: readonly Answer[]; commands?: readonly string[] } = {},
  ) {
    this.#answers = [...(given.run ?? [])];
    this.#commands = new Set([...(given.commands ?? []), ...this.#answers.map(({ argv }) => argv[0] ?? '')]);
    this.#place('/', { kind: 'directory' });
    this.put({ '/etc/passwd': PASSWD, '/etc/group': GROUP, '/tmp': { kind: 'directory', mode: 0o1777 }, ...given.files });
  }

  /** Lays things on the machine, with the folders above them. */
  put(files: Readonly<Record<string, FileGiven | string | null>>): void {
    for (const [path, given] of Object.entries(files)) {
      if (given === null) this.#drop(path);
      else this.#place(path, typeof given === 'string' ? { content: given } : given);
    }
  }

  async run(argv: readonly [string, ...string[]], options: RunOptions = {}): Promise<CommandResult> {
    options.signal?.throwIfAborted();
    this.ran.push({ argv, options });
    const fits = (answer: Answer) =>
      answer.argv.length === argv.length && answer.argv.every((word, index) => word === 'ANY' || word === argv[index]);
    const at = this.#answers.findIndex(fits);
    const answer = this.#answers[at];
    if (answer === undefined) throw new Error(`no answer for: ${JSON.stringify(argv)}`);
    const more = this.#answers.some((other, index) => index > at && fits(other));
    if (more) this.#answers.splice(at, 1);
    if (answer.stdin !== undefined && answer.stdin !== options.stdin)
      throw new Error(`wrong input for ${argv.join(' ')}: ${options.stdin}`);
    if (answer.timeout === true) throw new CodedError('DEADLINE', `${argv[0]} took longer than ${options.timeoutMs} ms`);
    this.put(answer.files ?? {});
    const result = { code: answer.code ?? 0, stdout: answer.stdout ?? '', stderr: answer.stderr ?? '' };
    const accepted = options.okCodes ?? [0];
    if (accepted === 'any' || accepted.includes(result.code)) return result;
    throw new CodedError('COMMAND_FAILED', `${argv[0]} ended with ${result.code}: ${result.stderr.trim()}`);
  }

  async start(argv: readonly [string, ...string[]], options: RunOptions = {}): Promise<void> {
    this.ran.push({ argv, options, started: true });
  }

  async hasCommand(name: string): Promise<boolean> {
    return this.#commands.has(name);
  }

  async privateFolder(): Promise<string> {
    this.#place('/run/private', { kind: 'directory', mode: 0o711 });
    return '/run/private';
  }

  now(): number {
    return this.time;
  }

  async stat(path: string): Promise<FileStat | undefined> {
    const node = this.#nodes.get(this.#inParent(path));
    if (node === undefined) return undefined;
    const { kind, mode, owner, group, modifiedAt, identity } = node;
    return { kind, mode, owner, group, size: node.data.length, modifiedAt, identity };
  }

  async readFile(path: string): Promise<Buffer | undefined> {
    const node = this.#nodes.get(await this.realPath(path));
    if (node?.kind === 'directory') throw ioError('EISDIR', path);
    return node?.data;
  }

  async writeFile(path: string, data: Buffer | string, attributes: WriteAttributes): Promise<void> {
    this.#check(attributes);
    if (this.failWrites !== undefined) throw ioError(this.failWrites, path);
    const place = this.#inParent(path);
    if (this.#nodes.get(dirname(place))?.kind !== 'directory') throw ioError('ENOENT', path);
    const now = this.#nodes.get(place);
    if (now?.kind === 'directory') throw new CodedError('BLOCKED', `${path} is a directory`);
    const kept = now?.kind === 'file' ? now : undefined;
    const { mode, owner, group } = { mode: kept?.mode ?? 0o644, owner: kept?.owner ?? 'root', group: kept?.group ?? 'root', ...attributes };
    const node = { kind: 'file' as const, data: Buffer.from(data), mode, modifiedAt: this.time, identity: this.#identity() };
    this.#nodes.set(place, { ...node, owner: this.#nameOf('passwd', owner), group: this.#nameOf('group', group) });
  }

  async setAttributes(path: string, attributes: WriteAttributes): Promise<void> {
    this.#check(attributes);
    const node = this.#nodes.get(this.#inParent(path));
    if (node === undefined) throw ioError('ENOENT', path);
    if (attributes.mode !== undefined && node.kind !== 'symlink') node.mode = attributes.mode;
    if (attributes.owner !== undefined) node.owner = this.#nameOf('passwd', attributes.owner);
    if (attributes.group !== undefined) node.group = this.#nameOf('group', attributes.group);
  }

  async makeDirectory(path: string, attributes: WriteAttributes): Promise<void> {
    this.#check(attributes);
    const place = this.#inParent(path);
    const now = this.#nodes.get(place);
    if (now !== undefined && now.kind !== 'directory') throw ioError('ENOTDIR', path);
    if (now === undefined) this.#place(place, { kind: 'directory', mode: 0o755 });
    await this.setAttributes(place, attributes);
  }

  async readLink(path: string): Promise<string | undefined> {
    return this.#nodes.get(this.#inParent(path))?.to;
  }

  async makeLink(path: string, to: string, kind: 'symbolic' | 'hard'): Promise<void> {
    const place = this.#inParent(path);
    if (this.#nodes.get(dirname(place))?.kind !== 'directory') throw ioError('ENOENT', path);
    if (kind === 'symbolic') return this.#place(place, { kind: 'symlink', to, mode: 0o777 });
    const target = this.#nodes.get(this.#inParent(to));
    if (target === undefined) throw ioError('ENOENT', to);
    this.#nodes.set(place, target);
  }

  async list(path: string): Promise<readonly string[]> {
    const folder = await this.realPath(path);
    return [...this.#nodes.keys()]
      .flatMap((one) => (one !== '/' && dirname(one) === folder ? [one.slice(dirname(one) === '/' ? 1 : folder.length + 1)] : []))
      .sort();
  }

  async remove(path: string): Promise<void> {
    if (this.failWrites !== undefined) throw ioError(this.failWrites, path);
    this.#drop(this.#inParent(path));
  }

  async realPath(path: string): Promise<string> {
    return this.#resolve(path, 0);
  }

  async space(): Promise<{ free: number; used: number; total: number }> {
    return { free: 60_000_000_000, used: 40_000_000_000, total: 100_000_000_000 };
  }

  #resolve(path: string, depth: number): string {
    if (depth > 40) throw ioError('ELOOP', path);
    let real = '/';
    const words = normalize(path)
      .split('/')
      .filter((word) => word !== '');
    for (const [index, word] of words.entries()) {
      real = join(real, word);
      const to = this.#nodes.get(real)?.to;
      if (to !== undefined)
        return this.#resolve(join(to.startsWith('/') ? to : join(dirname(real), to), ...words.slice(index + 1)), depth + 1);
    }
    return real;
  }

  /** Links above the last name are followed, the last name is not. */
  #inParent(path: string): string {
    const plain = normalize(path).replace(/(.)\/$/, '$1');
    return plain === '/' ? '/' : join(this.#resolve(dirname(plain), 0), plain.slice(dirname(plain).length).replace(/^\//, ''));
  }

  #place(path: string, given: FileGiven): void {
    const parent = dirname(path);
    if (parent !== path && this.#nodes.get(parent) === undefined) this.#place(parent, { kind: 'directory' });
    const same = given.sameAs === undefined ? undefined : this.#nodes.get(given.sameAs);
    const kind = given.kind ?? (given.to === undefined ? 'file' : 'symlink');
    this.#nodes.set(
      path,
      same ?? {
        kind,
        data: given.base64 === undefined ? Buffer.from(given.content ?? '') : Buffer.from(given.base64, 'base64'),
        mode: given.mode ?? (kind === 'directory' ? 0o755 : 0o644),
        owner: given.owner ?? 'root',
        group: given.group ?? 'root',
        ...(given.to === undefined ? {} : { to: given.to }),
        modifiedAt: this.time,
        identity: this.#identity(),
      },
    );
  }

  #drop(path: string): void {
    for (const one of [...this.#nodes.keys()]) if (one === path || one.startsWith(`${path}/`)) this.#nodes.delete(one);
  }

  #identity(): string {
    this.#lastIdentity += 1;
    return `1:${this.#lastIdentity}`;
  }

  #table(database: 'passwd' | 'group'): string[][] {
    return (this.#nodes.get(`/etc/${database}`)?.data.toString() ?? '').split('\n').map((line) => line.split(':'));
  }

  #nameOf(database: 'passwd' | 'group', nameOrId: string): string {
    return this.#table(database).find(([name, , id]) => name === nameOrId || id === nameOrId)?.[0] ?? nameOrId;
  }

  #check({ owner, group }: WriteAttributes): void {
    for (const [database, name] of [
      ['passwd', owner],
      ['group', group],
    ] as const)
      if (name !== undefined && !/^\d+$/.test(name) && !this.#table(database).some(([known]) => known === name))
        throw new CodedError('BAD_REQUEST', `no such ${database === 'passwd' ? 'user' : 'group'}: ${name}`);
  }
}
