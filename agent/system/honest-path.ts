/**
 * Paths that ordinary accounts can bend. The agent is root: a link in a folder of another account is followed only to what that account owns itself,
 * and the folder that was looked at is the one that is used, held open by its handle, so that swapping it meanwhile changes nothing.
 */
import { constants, lstatSync, type Stats } from 'node:fs';
import * as fs from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';

const MAX_LINKS = 40;
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

function isTrusted(uid: number): boolean {
  return uid === 0 || uid === process.geteuid?.();
}

/** Nobody but root and the agent can put another thing in the place of an entry of ours. */
function isFirm(stat: Stats): boolean {
  return stat.isDirectory() && isTrusted(stat.uid) && ((stat.mode & 0o022) === 0 || (stat.mode & 0o1000) !== 0);
}

/** True when every folder on the way is firm and none is a link: the plain path cannot be bent. */
function isFirmPath(folder: string): boolean {
  for (let at = folder; ; at = dirname(at)) {
    const stat = lstatSync(at, { throwIfNoEntry: false });
    if (stat === undefined || !isFirm(stat)) return false;
    if (at === dirname(at)) return true;
  }
}

function crooked(path: string): CodedError {
  return new CodedError('BLOCKED', `a link on the way to ${path} was laid by another account and leads to what that account does not own`);
}

const partsOf = (path: string) => path.split('/').filter((part) => part !== '' && part !== '.');

async function openFolder(path: string): Promise<fs.FileHandle> {
  let at = await fs.open('/', FOLDER);
  try {
    let rest = partsOf(path);
    /** links of ordinary accounts that were entered, and how much is left to walk when their target is reached */
    const owed: { readonly uid: number; readonly left: number }[] = [];
    const enter = async (name: string) => {
      const next = await fs.open(name, FOLDER);
      await at.close();
      at = next;
    };
    for (let links = 0; ; ) {
      for (let last = owed.at(-1); last !== undefined && rest.length <= last.left; last = owed.at(-1)) {
        if ((await at.stat()).uid !== last.uid) throw crooked(path);
        owed.pop();
      }
      const name = rest[0];
      if (name === undefined) return at;
      rest = rest.slice(1);
      const here = `/proc/self/fd/${at.fd}/${name}`;
      const stat = await fs.lstat(here);
      if (!stat.isSymbolicLink()) {
        await enter(here);
        continue;
      }
      links += 1;
      if (links > MAX_LINKS) throw new CodedError('BLOCKED', `too many links on the way to ${path}`);
      const folder = await at.stat();
      // whoever owns the folder can move any link in it
      const uid = isTrusted(folder.uid) ? stat.uid : folder.uid;
      if (!isTrusted(uid)) owed.push({ uid, left: rest.length });
      const to = await fs.readlink(here);
      if ((await fs.lstat(here)).ino !== stat.ino) throw crooked(path);
      if (to.startsWith('/')) await enter('/');
      rest = [...partsOf(to), ...rest];
    }
  } catch (thrown) {
    await at.close();
    throw thrown;
  }
}

export interface Place {
  /** a path that means the same entry until the work ends */
  readonly path: string;
  /** the account whose folder it is; undefined for root and the agent itself */
  readonly stranger: number | undefined;
}

/** Works on an entry of a folder. @throws CodedError BLOCKED for a crooked way; ENOENT when the folder is missing */
export async function atPlace<T>(path: string, work: (place: Place) => Promise<T>): Promise<T> {
  const folder = dirname(path);
  if (!path.startsWith('/') || path.startsWith('/proc/') || isFirmPath(folder)) return await work({ path, stranger: undefined });
  const handle = await openFolder(folder);
  try {
    const { uid } = await handle.stat();
    return await work({ path: join(`/proc/self/fd/${handle.fd}`, basename(path)), stranger: isTrusted(uid) ? undefined : uid });
  } finally {
    await handle.close();
  }
}

/** Reads a file; links are followed by the rule above. */
export async function readHonestly(path: string): Promise<Buffer> {
  return await atPlace(path, async (place) => {
    if (place.stranger === undefined) return await fs.readFile(place.path);
    const handle = await fs
      .open(place.path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
      .catch(async (thrown: unknown) => {
        if ((thrown as NodeJS.ErrnoException).code !== 'ELOOP') throw thrown;
        const followed = await fs.open(place.path, constants.O_RDONLY | constants.O_NONBLOCK);
        if ((await followed.stat()).uid === place.stranger) return followed;
        await followed.close();
        throw crooked(path);
      });
    try {
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  });
}
