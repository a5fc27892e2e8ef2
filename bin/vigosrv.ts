#!/usr/bin/env node
/** Starts vigosrv in the role that its settings name. */
import { hubRole } from '../hub/main.ts';
import { main } from '../server/program.ts';
import { spokeRole } from '../spoke/main.ts';

process.exitCode = await main(process.argv.slice(2), { hub: hubRole, spoke: spokeRole });
