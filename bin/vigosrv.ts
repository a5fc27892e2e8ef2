#!/usr/bin/env node
/** Starts vigosrv. */
import { main } from '../spoke/main.ts';

process.exitCode = await main(process.argv.slice(2));
