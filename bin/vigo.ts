#!/usr/bin/env node
/** Starts vigo. */
import { main } from '../agent/main.ts';

process.exitCode = await main(process.argv.slice(2));
