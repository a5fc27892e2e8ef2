/** Who runs, and who waits: a lock file and a preempt sentinel that survive crashes without lying about them (config.md §15.3). */
import { linkSync, lstatSync, mkdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const holderSchema = z.object({ pid: z.number().int().positive(), born: z.string(), mode: z.enum(['daemon', 'manual']), at: z.number() });
export type LockHolder = z.output<typeof holderSchema>;

/** When a process began, so that a number used again is not taken for it; '' where that cannot be told. */
function bornOf(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    // no such process, or no /proc
    return '';
  }
}

function isAlive({ pid, born }: LockHolder): boolean {
  try {
    process.kill(pid, 0);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return born === '' || bornOf(pid) === born;
}

function read(file: string): { readonly text: string; readonly holder: LockHolder | undefined } | undefined {
  let text: string;
  try {
    text = lstatSync(file).isSymbolicLink() ? readlinkSync(file) : readFileSync(file, 'utf8');
  } catch {
    // nothing there
    return undefined;
  }
  try {
    return { text, holder: holderSchema.parse(JSON.parse(text)) };
  } catch {
    // written by nobody we know: as good as left behind
    return { text, holder: undefined };
  }
}

export class RunFiles {
  readonly #lock: string;
  readonly #sentinel: string;
  readonly #mode: LockHolder['mode'];

  constructor(folder: string, mode: LockHolder['mode']) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#lock = join(folder, 'lock');
    this.#sentinel = join(folder, 'preempt');
    this.#mode = mode;
  }

  /** True when the lock is ours now. What a dead process left is taken away first. */
  tryLock(): boolean {
    const candidate = `${this.#lock}.${process.pid}`;
    this.#write(candidate);
    try {
      if (this.#link(candidate)) return true;
      return this.#takeAwayStale() && this.#link(candidate);
    } finally {
      rmSync(candidate, { force: true });
    }
  }

  /** Who holds the lock, if it is somebody alive. */
  holder(): LockHolder | undefined {
    const holder = read(this.#lock)?.holder;
    return holder !== undefined && isAlive(holder) ? holder : undefined;
  }

  unlock(): void {
    if (read(this.#lock)?.holder?.pid === process.pid) rmSync(this.#lock, { force: true });
  }

  askToYield(): void {
    const candidate = `${this.#sentinel}.${process.pid}`;
    this.#write(candidate);
    renameSync(candidate, this.#sentinel);
  }

  stopAsking(): void {
    if (read(this.#sentinel)?.holder?.pid === process.pid) rmSync(this.#sentinel, { force: true });
  }

  /** Somebody alive wants to run; a sentinel of a dead process is removed. */
  isAskedToYield(): boolean {
    const found = read(this.#sentinel);
    if (found === undefined) return false;
    if (found.holder !== undefined && isAlive(found.holder)) return found.holder.pid !== process.pid;
    rmSync(this.#sentinel, { force: true });
    return false;
  }

  /** On a full disk the text stands in a symbolic link, which needs no room of its own: enforcement must not end for want of a lock. */
  #write(candidate: string): void {
    rmSync(candidate, { force: true });
    try {
      writeFileSync(candidate, this.#self(), { mode: 0o600 });
    } catch (thrown) {
      if (!['ENOSPC', 'EDQUOT'].includes((thrown as NodeJS.ErrnoException).code ?? '')) throw thrown;
      rmSync(candidate, { force: true });
      symlinkSync(this.#self(), candidate);
    }
  }

  #self(): string {
    return JSON.stringify({ pid: process.pid, born: bornOf(process.pid), mode: this.#mode, at: Date.now() } satisfies LockHolder);
  }

  /** Only one link of a name can succeed. */
  #link(candidate: string): boolean {
    try {
      linkSync(candidate, this.#lock);
      return true;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw thrown;
    }
  }

  /** Moves the lock aside before it is judged for good: what was moved may be a fresh lock of somebody faster, who gets it back. */
  #takeAwayStale(): boolean {
    const found = read(this.#lock);
    if (found === undefined) return true;
    if (found.holder !== undefined && isAlive(found.holder)) return false;
    const aside = `${this.#lock}.stale.${process.pid}`;
    try {
      renameSync(this.#lock, aside);
    } catch {
      // somebody else has just taken it away
      return true;
    }
    const moved = read(aside);
    const wasStale = moved?.text === found.text;
    if (!wasStale) this.#link(aside);
    rmSync(aside, { force: true });
    return wasStale;
  }
}
