import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { didYouMean } from '../../core/base/did-you-mean.ts';
import type { Json } from '../../core/base/json.ts';
import { escapeText, formatJson } from '../../core/command/output.ts';
import { traitAt } from '../../core/traits/path.ts';
import { readEnvoyId } from '../enroll/identity.ts';
import { LocalSystem } from '../system/local-system.ts';
import { openMachine } from '../system/machine.ts';
import { createTraitSource } from '../traits/collect.ts';
import { COLLECTORS } from '../traits/index.ts';
import { agentCommand, loggingOf, settingsOf } from './globals.ts';

export const traits = agentCommand({
  name: ['traits'],
  summary: 'what is known of this machine, collected now',
  details: 'Without arguments everything; names of collectors give those; a dot path such as os.family gives one value.',
  flags: z.object({}),
  positional: [{ name: 'collector or path', summary: 'collectors, or one dot path', optional: true, many: true }],
  async run({ globals, args }, io) {
    const settings = settingsOf(globals);
    const { log } = loggingOf({ log_level: globals.logLevel ?? 'warn', log_format: globals.logFormat ?? 'text' });
    const known = COLLECTORS.map(({ name }) => name);
    const wanted = new Set(args.map((arg) => arg.split('.')[0]!));
    const unknown = [...wanted].find((name) => !known.includes(name));
    if (unknown !== undefined) {
      const hint = didYouMean(unknown, known);
      io.err(`vigo: there is no collector "${escapeText(unknown)}"${hint === undefined ? '' : `, ${hint}`}\n`);
      return 1;
    }
    const collectors = wanted.size === 0 ? COLLECTORS : COLLECTORS.filter(({ name }) => wanted.has(name));
    const source = createTraitSource({ collectors, clock: systemClock, log, refreshCycles: 1 });
    const machine = await openMachine(new LocalSystem());
    const envoy = { id: envoyId(settings.configDir), hostname: settings.hostname, environment: undefined };
    const found = await source.collect({ ...machine, envoy, signal: io.signal });
    const [path] = args;
    if (args.length !== 1 || path === undefined || known.includes(path)) {
      io.out(formatJson(found));
      return 0;
    }
    return printValue(path, traitAt(found, path), io);
  },
});

function printValue(path: string, value: Json | undefined, io: { out(text: string): void; err(text: string): void }): number {
  if (value === undefined) {
    io.err(`vigo: there is no trait "${escapeText(path)}" on this machine\n`);
    return 1;
  }
  io.out(typeof value === 'string' ? `${escapeText(value)}\n` : formatJson(value));
  return 0;
}

/** Everybody may ask for traits; the id is for those who may read it. */
function envoyId(configDir: string): string | undefined {
  try {
    return readEnvoyId(configDir);
  } catch {
    // not readable for this account
    return undefined;
  }
}
