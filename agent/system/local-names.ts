/** Names of accounts and groups for their numbers and back, from the files first and then from whatever else the name service knows. */
import { execFile } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { CodedError } from '../../core/base/errors.ts';

const runFile = promisify(execFile);
/** How long an answer of the name service is believed. */
const MEMORY_MS = 60_000;

interface Table {
  readonly stamp: string;
  readonly byName: ReadonlyMap<string, number>;
  readonly byId: ReadonlyMap<number, string>;
}

/** `database` is `passwd` or `group`: both hold name:x:number. */
export class LocalNames {
  readonly #database: 'passwd' | 'group';
  readonly #asked = new Map<string, { readonly at: number; readonly line: string | undefined }>();
  #table: Table | undefined;

  constructor(database: 'passwd' | 'group') {
    this.#database = database;
  }

  /** The name, or the number as text when it has none. */
  async nameOf(id: number): Promise<string> {
    return this.#read().byId.get(id) ?? (await this.#ask(String(id)))?.split(':')[0] ?? String(id);
  }

  /** @throws CodedError BAD_REQUEST for an unknown name */
  async idOf(name: string): Promise<number> {
    const known = this.#read().byName.get(name);
    if (known !== undefined) return known;
    if (/^\d+$/.test(name)) return Number(name);
    const line = await this.#ask(name);
    if (line === undefined) throw new CodedError('BAD_REQUEST', `no such ${this.#database === 'passwd' ? 'user' : 'group'}: ${name}`);
    return Number(line.split(':')[2]);
  }

  /** The whole line of an account. */
  async lineOf(name: string): Promise<readonly string[] | undefined> {
    const line = readFileSync(`/etc/${this.#database}`, 'utf8')
      .split('\n')
      .find((one) => one.startsWith(`${name}:`));
    return (line ?? (await this.#ask(name)))?.split(':');
  }

  #read(): Table {
    const file = `/etc/${this.#database}`;
    const { mtimeMs, size, ino } = statSync(file);
    const stamp = `${mtimeMs}/${size}/${ino}`;
    if (this.#table?.stamp === stamp) return this.#table;
    const byName = new Map<string, number>();
    const byId = new Map<number, string>();
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      const [name, , id] = line.split(':');
      if (name === undefined || id === undefined || !/^\d+$/.test(id)) continue;
      if (!byName.has(name)) byName.set(name, Number(id));
      if (!byId.has(Number(id))) byId.set(Number(id), name);
    }
    this.#table = { stamp, byName, byId };
    this.#asked.clear();
    return this.#table;
  }

  async #ask(key: string): Promise<string | undefined> {
    const remembered = this.#asked.get(key);
    if (remembered !== undefined && Date.now() - remembered.at < MEMORY_MS) return remembered.line;
    let line: string | undefined;
    try {
      line = (
        await runFile('getent', [this.#database, '--', key], { timeout: 5_000, env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' } })
      ).stdout.trim();
    } catch {
      // getent is missing or knows no such name: both mean that there is no answer
    }
    this.#asked.set(key, { at: Date.now(), line: line === '' ? undefined : line });
    return line === '' ? undefined : line;
  }
}
