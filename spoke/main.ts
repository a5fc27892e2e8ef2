/** The program `vigosrv` for a site that owns envoys: a spoke, or a stand-alone server, which is a spoke without a hub. */
import { VERSION } from '../core/base/version.ts';
import type { Program } from '../core/command/command.ts';
import { processIo, runProgram } from '../core/command/run.ts';
import { serverGlobals } from '../server/commands/globals.ts';
import { COMMANDS } from '../server/commands/index.ts';

export const SERVER_PROGRAM: Program<typeof serverGlobals> = {
  name: 'vigosrv',
  summary: 'the server of a site',
  version: VERSION,
  globals: serverGlobals,
  commands: COMMANDS,
};

/** @param argv without node and script; no command means `run` */
export function main(argv: readonly string[]): Promise<number> {
  const isCommand = argv.some(
    (word) => COMMANDS.some(({ name }) => name[0] === word) || ['--help', '-h', 'help', '--version'].includes(word),
  );
  return runProgram(
    { name: 'vigosrv', summary: 'the server of a site', version: VERSION, globals: serverGlobals, commands: COMMANDS },
    isCommand ? argv : [...argv, 'run'],
    processIo(),
  );
}
