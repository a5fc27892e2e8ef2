/** The right to use sudo without a password: one file an account, refused by visudo before it can lock everybody out. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { CodedError } from '../../core/base/errors.ts';
import type { ExecutorContext } from './executor.ts';

/** sudo skips files whose names hold a dot. */
const pathOf = (name: string) => `/etc/sudoers.d/${name.replaceAll('.', '_')}`;
const textOf = (name: string) => `${name} ALL=(ALL:ALL) NOPASSWD: ALL\n`;

export async function sudoDrifted(name: string, wanted: boolean, { system }: ExecutorContext): Promise<boolean> {
  const stat = await system.stat(pathOf(name));
  if (!wanted || stat === undefined) return wanted !== (stat !== undefined);
  return stat.kind !== 'file' || stat.mode !== 0o440 || (await system.readFile(pathOf(name)))?.toString('utf8') !== textOf(name);
}

export async function writeSudo(name: string, { system, snapshot }: ExecutorContext): Promise<void> {
  if (!(await system.hasCommand('visudo'))) throw new CodedError('BLOCKED', 'sudo is not installed: there is no visudo');
  const candidate = join(await system.privateFolder(), randomBytes(12).toString('hex'));
  try {
    await system.writeFile(candidate, textOf(name), { mode: 0o440 });
    await system.run(['visudo', '-c', '-f', candidate]);
  } finally {
    await system.remove(candidate);
  }
  await snapshot(pathOf(name), 'updated');
  await system.writeFile(pathOf(name), textOf(name), { mode: 0o440, owner: 'root', group: 'root' });
}

export async function removeSudo(name: string, { system, snapshot }: ExecutorContext): Promise<void> {
  if ((await system.stat(pathOf(name))) === undefined) return;
  await snapshot(pathOf(name), 'deleted');
  await system.remove(pathOf(name));
}
