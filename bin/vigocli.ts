#!/usr/bin/env node
/** Starts vigocli. */
import { main } from '../cli/main.ts';
import { processIo } from '../core/command/run.ts';

process.exitCode = await main(process.argv.slice(2), processIo());
