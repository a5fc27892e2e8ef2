/** The authorized_keys file of an account. The account owns the folder, so nothing in it is trusted to be what it seems. */
import { join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';
import type { UserRecord } from '../platform/platform.ts';
import type { ExecutorContext } from './executor.ts';
import { ownershipChanges } from './ownership.ts';

const places = ({ home }: UserRecord) => ({ folder: join(home, '.ssh'), file: join(home, '.ssh', 'authorized_keys') });

function textOf(keys: string): string {
  return keys === '' || keys.endsWith('\n') ? keys : `${keys}\n`;
}

/** What is wrong, or undefined. */
export async function keysDrifted(record: UserRecord, keys: string, context: ExecutorContext): Promise<string | undefined> {
  const { system } = context;
  const { folder, file } = places(record);
  const folderStat = await system.stat(folder);
  const fileStat = await system.stat(file);
  if (folderStat === undefined || fileStat === undefined) return keys === '' ? undefined : 'missing';
  if (folderStat.kind !== 'directory' || fileStat.kind !== 'file') return 'not a plain file in a plain folder';
  const owned = { owner: record.name, group: String(record.gid) };
  const folderDrift = await ownershipChanges({ ...owned, mode: 0o700 }, folderStat, context);
  const fileDrift = await ownershipChanges({ ...owned, mode: 0o600 }, fileStat, context);
  if (folderDrift.length + fileDrift.length > 0) return 'permissions differ';
  return (await system.readFile(file))?.toString('utf8') === textOf(keys) ? undefined : 'content differs';
}

export async function writeKeys(record: UserRecord, keys: string, context: ExecutorContext): Promise<void> {
  const { system } = context;
  const { folder, file } = places(record);
  const owned = { owner: record.name, group: String(record.gid) };
  const kind = (await system.stat(folder))?.kind;
  if (kind !== undefined && kind !== 'directory') throw new CodedError('BLOCKED', `${folder} is a ${kind}, not a directory`);
  await system.makeDirectory(folder, { ...owned, mode: 0o700 });
  await context.snapshot(file, 'updated');
  await system.writeFile(file, textOf(keys), { ...owned, mode: 0o600 });
}
