/** vigocli: administration through the REST API only. */
import { VERSION } from '../core/base/version.ts';
import type { CommandIo, Program } from '../core/command/command.ts';
import { runProgram } from '../core/command/run.ts';
import { CLI_COMMANDS } from './commands/index.ts';
import { cliGlobals } from './globals.ts';

export const CLI_PROGRAM: Program<typeof cliGlobals> = {
  name: 'vigocli',
  summary: 'administers a vigo fleet',
  version: VERSION,
  globals: cliGlobals,
  commands: CLI_COMMANDS,
};

/** `spanner bolt` is another name of `spanner spoke`. */
function withoutAlias(argv: readonly string[]): readonly string[] {
  return argv.map((word, index) => (word === 'bolt' && argv[index - 1] === 'spanner' ? 'spoke' : word));
}

/** The exit code. */
export function main(argv: readonly string[], io: CommandIo): Promise<number> {
  return runProgram(CLI_PROGRAM, withoutAlias(argv), io);
}
