/** Keeps a regular file. */
import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import type { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { backupSuffix, file as spec } from '../../core/resources/file.ts';
import { type Change, defineExecutor, type ExecutorContext } from './executor.ts';
import { lineDiff } from './line-diff.ts';
import { driftedAttributes, ownershipChanges, writeAttributes } from './ownership.ts';
import { quoted, shellCommand } from './shell.ts';

type Want = z.output<typeof spec.attributes>;

export const file = defineExecutor(spec, {
  async check(want, context) {
    const { system } = context;
    const stat = await system.stat(want.target_path);
    if (stat?.kind === 'directory') throw new CodedError('BLOCKED', `${want.target_path} is a directory`);
    if (want.state === 'absent') return stat === undefined ? [] : [{ attribute: 'exists', from: true, to: false }];
    if (stat === undefined) return [{ attribute: 'exists', from: false, to: true }];
    // a device or a socket serves others, and a link is only replaced by what somebody said should be there instead
    if (stat.kind === 'other' || (stat.kind === 'symlink' && want.content === undefined && want.source === undefined))
      throw new CodedError('BLOCKED', `${want.target_path} is no regular file`);
    if (stat.kind !== 'file') return [{ attribute: 'kind', from: stat.kind, to: 'file' }];
    const wanted = await wantedBytes(want, context);
    const changes = await ownershipChanges(want, stat, context);
    const now = wanted === undefined ? undefined : ((await system.readFile(want.target_path)) ?? Buffer.alloc(0));
    if (wanted !== undefined && now !== undefined && !now.equals(wanted)) {
      changes.unshift({ attribute: 'content', from: digest(now), to: digest(wanted) });
      context.output(lineDiff(now.toString('utf8'), wanted.toString('utf8')));
    }
    const label = want.secontext === undefined ? undefined : await labelOf(want.target_path, context);
    if (label !== undefined && label !== want.secontext) changes.push({ attribute: 'secontext', from: label, to: want.secontext! });
    return changes;
  },

  async apply(want, changes, context) {
    const { system } = context;
    if (want.state === 'absent') {
      await context.snapshot(want.target_path, 'deleted');
      return await system.remove(want.target_path);
    }
    if (changes.some(({ attribute }) => ['exists', 'kind', 'content'].includes(attribute))) await write(want, changes, context);
    else await system.setAttributes(want.target_path, driftedAttributes(want, changes));
    if (want.secontext !== undefined && (await labelOf(want.target_path, context)) !== undefined)
      await system.run(['chcon', '--', want.secontext, want.target_path]);
  },
});

async function write(want: Want, changes: readonly Change[], context: ExecutorContext): Promise<void> {
  const { system } = context;
  const bytes = (await wantedBytes(want, context)) ?? Buffer.alloc(0);
  await validate(want, bytes, context);
  if (changes.some(({ attribute }) => attribute === 'content')) {
    await context.snapshot(want.target_path, 'updated');
    const suffix = backupSuffix(want.backup, Math.floor(system.now() / 1_000));
    const old = suffix === undefined ? undefined : await system.readFile(want.target_path);
    const stat = await system.stat(want.target_path);
    if (old !== undefined && stat !== undefined)
      await system.writeFile(`${want.target_path}${suffix}`, old, { mode: stat.mode, owner: stat.owner, group: stat.group });
  }
  await system.writeFile(want.target_path, bytes, writeAttributes(want));
}

/** undefined: nobody says what is in it. */
async function wantedBytes(want: Want, { system, signal, timeoutMs }: ExecutorContext): Promise<Buffer | undefined> {
  let bytes: Buffer | undefined = want.content === undefined ? undefined : Buffer.from(want.content, 'utf8');
  if (want.source !== undefined) {
    if (!want.source.startsWith('/')) throw new CodedError('BLOCKED', `the template ${want.source} did not come with the policy`);
    bytes = await system.readFile(want.source);
    if (bytes === undefined) throw new CodedError('BLOCKED', `the source ${want.source} does not exist`);
  }
  if (bytes === undefined) return undefined;
  if (want.baseindent !== undefined) bytes = Buffer.from(bytes.toString('utf8').replace(/^(?=.)/gm, ' '.repeat(want.baseindent)));
  for (const filter of want.stream_edit ?? []) {
    bytes = Buffer.from((await system.run([filter], { stdin: bytes.toString('utf8'), signal, timeoutMs })).stdout);
  }
  return bytes;
}

/** The candidate lies beside the target, where relative includes of a configuration still hold. */
async function validate(want: Want, bytes: Buffer, { system, signal, timeoutMs }: ExecutorContext): Promise<void> {
  if (want.validate === undefined) return;
  const candidate = join(dirname(want.target_path), `.${basename(want.target_path)}.vigo-candidate`);
  try {
    await system.writeFile(candidate, bytes, { ...writeAttributes(want), mode: 0o600 });
    await system.run(shellCommand(want.validate.replaceAll('%', quoted(candidate))), { signal, timeoutMs });
  } catch (thrown) {
    if (!(thrown instanceof CodedError) || thrown.code !== 'COMMAND_FAILED') throw thrown;
    throw new CodedError('COMMAND_FAILED', `validate refused the new content: ${thrown.message}`, { cause: thrown });
  } finally {
    await system.remove(candidate);
  }
}

/** undefined where SELinux is absent. */
async function labelOf(path: string, { system }: ExecutorContext): Promise<string | undefined> {
  if ((await system.stat('/sys/fs/selinux/enforce')) === undefined) return undefined;
  return (await system.run(['stat', '-c', '%C', '--', path])).stdout.trim();
}

function digest(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex').slice(0, 16)} (${bytes.length} bytes)`;
}
