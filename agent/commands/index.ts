/** The commands of `vigo`, sorted by name. */
import type { Command } from '../../core/command/command.ts';
import { bootstrap } from './bootstrap.ts';
import { daemon } from './daemon.ts';
import type { AgentGlobals } from './globals.ts';
import { register } from './register.ts';

export const COMMANDS: readonly Command<AgentGlobals>[] = [bootstrap, daemon, register];
