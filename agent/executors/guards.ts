/** `creates`, `unless` and `onlyif`: read-only questions that hold a resource back (config.md §14). */
import type { Json } from '../../core/base/json.ts';
import { textsOf, variables } from '../../core/resources/attributes.ts';
import type { RunOptions } from '../system/system.ts';
import type { ExecutorContext } from './executor.ts';
import { shellCommand } from './shell.ts';

const MAX_GUARD_MS = 60_000;

/** Why the resource is held back, or undefined. @throws CodedError DEADLINE */
export async function heldBack(attributes: Readonly<Record<string, Json>>, context: ExecutorContext): Promise<string | undefined> {
  const { system, signal } = context;
  for (const path of textsOf(attributes['creates'])) if ((await system.stat(path)) !== undefined) return `${path} exists`;
  const options: RunOptions = {
    signal,
    timeoutMs: Math.min(context.timeoutMs, MAX_GUARD_MS),
    okCodes: 'any',
    ...textOption('cwd', attributes['cwd']),
    ...textOption('user', attributes['user']),
    ...environmentOption(attributes['environment']),
  };
  const succeeds = async (command: string) => (await system.run(shellCommand(command), options)).code === 0;
  const unless = textsOf(attributes['unless']);
  if (unless.length > 0 && (await all(unless, succeeds))) return 'unless succeeded';
  if (!(await all(textsOf(attributes['onlyif']), succeeds))) return 'onlyif failed';
  return undefined;
}

function textOption<K extends 'cwd' | 'user'>(name: K, value: Json | undefined): { [key in K]?: string } {
  return typeof value === 'string' && value !== '' ? ({ [name]: value } as { [key in K]?: string }) : {};
}

/** Guards see what the command would see. */
function environmentOption(value: Json | undefined): { env?: Readonly<Record<string, string>> } {
  const parsed = value === undefined ? undefined : variables().safeParse(value);
  return parsed?.success === true ? { env: Object.fromEntries(parsed.data) } : {};
}

async function all(commands: readonly string[], holds: (command: string) => Promise<boolean>): Promise<boolean> {
  for (const command of commands) if (!(await holds(command))) return false;
  return true;
}
