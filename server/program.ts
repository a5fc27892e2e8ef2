/** The program `vigosrv`: one for all roles, which its settings name. */
import { VERSION } from '../core/base/version.ts';
import type { Program } from '../core/command/command.ts';
import { processIo, runProgram } from '../core/command/run.ts';
import { serverGlobals } from './commands/globals.ts';
import { commands } from './commands/index.ts';
import type { Roles } from './role.ts';

export function serverProgram(roles: Roles): Program<typeof serverGlobals> {
  return { name: 'vigosrv', summary: 'the server of a site', version: VERSION, globals: serverGlobals, commands: commands(roles) };
}

/** @param argv without node and script; no command means `run` */
export function main(argv: readonly string[], roles: Roles): Promise<number> {
  const program = serverProgram(roles);
  const isCommand = argv.some(
    (word) => program.commands.some(({ name }) => name[0] === word) || ['--help', '-h', 'help', '--version'].includes(word),
  );
  return runProgram(program, isCommand ? argv : [...argv, 'run'], processIo());
}
