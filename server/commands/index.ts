/** The commands of `vigosrv`, sorted by name. */
import type { Command } from '../../core/command/command.ts';
import type { Roles } from '../role.ts';
import { checkConfig } from './check-config.ts';
import type { ServerGlobals } from './globals.ts';
import { init } from './init.ts';
import { joinCommand } from './join.ts';
import { run } from './run.ts';
import { signDelegationCommand } from './sign-delegation.ts';
import { version } from './version.ts';

export const commands = (roles: Roles): readonly Command<ServerGlobals>[] => [
  checkConfig,
  init,
  joinCommand,
  run(roles),
  signDelegationCommand,
  version,
];
