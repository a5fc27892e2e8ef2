/** The program `vigo`: commands of the agent. */

import { VERSION } from '../core/base/version.ts';
import type { Program } from '../core/command/command.ts';
import { processIo, runProgram } from '../core/command/run.ts';
import { agentGlobals } from './commands/globals.ts';
import { COMMANDS } from './commands/index.ts';

export const AGENT_PROGRAM: Program<typeof agentGlobals> = {
  name: 'vigo',
  summary: 'keeps this machine in its declared state',
  version: VERSION,
  globals: agentGlobals,
  commands: COMMANDS,
};

/** @param argv without node and script; no command means `daemon` */
export function main(argv: readonly string[]): Promise<number> {
  const words = argv.some(
    (word) =>
      COMMANDS.some(({ name }) => name[0] === word) || word === '--help' || word === '-h' || word === 'help' || word === '--version',
  )
    ? argv
    : [...argv, 'daemon'];
  return runProgram(AGENT_PROGRAM, words, processIo());
}
