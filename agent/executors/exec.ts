/** Runs a command; the engine has looked at its guards before. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { exec as spec } from '../../core/resources/exec.ts';
import type { RunOptions } from '../system/system.ts';
import { defineExecutor, type ExecutorContext } from './executor.ts';
import { quoted, shellCommand } from './shell.ts';

type Want = z.output<typeof spec.attributes>;

const SECRET_FILE = '{{secret_file}}';

export const exec = defineExecutor(spec, {
  eventful: () => true,
  verb: () => 'updated',

  check() {
    return Promise.resolve([{ attribute: 'run', from: false, to: true }]);
  },

  async apply(want, _changes, context) {
    const options = runOptions(want, context);
    if (want.background) return await context.system.start(shellCommand(want.command), { nice: 19, ...options });
    if (want.secret_file === undefined) return await run(want, want.command, options, context);
    const path = join(await context.system.privateFolder(), randomBytes(12).toString('hex'));
    try {
      await context.system.writeFile(path, want.secret_file, { mode: 0o600, ...(want.user === undefined ? {} : { owner: want.user }) });
      await run(want, want.command.replaceAll(SECRET_FILE, quoted(path)), options, context);
    } finally {
      await context.system.remove(path);
    }
  },
});

function runOptions(want: Want, { signal, timeoutMs }: ExecutorContext): RunOptions {
  return {
    signal,
    timeoutMs,
    okCodes: 'any',
    ...(want.cwd === undefined ? {} : { cwd: want.cwd }),
    ...(want.user === undefined ? {} : { user: want.user }),
    ...(want.environment === undefined ? {} : { env: Object.fromEntries(want.environment) }),
    ...(want.stdin === undefined ? {} : { stdin: want.stdin }),
  };
}

async function run(want: Want, command: string, options: RunOptions, context: ExecutorContext): Promise<void> {
  const { code, stdout, stderr } = await context.system.run(shellCommand(command), options);
  const said = [stdout, stderr].filter((text) => text !== '').join('\n');
  if (want.logoutput && said !== '') context.output(said);
  if (want.returns.includes(code)) return;
  const last = want.logoutput ? (stderr.trim() || stdout.trim()).split('\n').at(-1)!.slice(0, 500) : '';
  throw new CodedError('COMMAND_FAILED', `the command ended with ${code}${last === '' ? '' : `: ${last}`}`, {
    details: { exitCode: code },
  });
}
