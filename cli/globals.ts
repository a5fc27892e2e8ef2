/** The flags that every command of vigocli knows, and what commands make of them. */
import { z } from 'zod';
import type { SpokeStatusItem } from '../core/api/route.ts';
import { type Command, type CommandInput, type CommandIo, commandOf, type OutputOptions } from '../core/command/command.ts';
import { flag } from '../core/command/flags.ts';
import { escapeCell } from '../core/command/output.ts';
import { type ApiClient, createApiClient } from './api-client.ts';
import { connectionOf } from './settings.ts';

export const cliGlobals = z.object({
  server: flag.text('address of the server', { value: 'url' }),
  profile: flag.text('block of ~/.config/vigo/cli.yaml', { value: 'name' }),
  tokenFile: flag.text('file with the API token, mode 0600', { value: 'path' }),
  caFile: flag.text('file with the root CA', { value: 'path' }),
  dataDir: flag.text('data directory of a server on this machine', { value: 'path' }),
  json: flag.on('one JSON document on standard output'),
  output: flag.oneOf(['table', 'wide', 'csv'], 'form of lists'),
  limit: flag.whole('most rows of a list (100)'),
  all: flag.on('all rows of a list'),
  spoke: flag.text('only this spoke of the fleet', { value: 'id' }),
  allowPartial: flag.on('exit 0 although spokes did not answer'),
  yes: flag.on('answer every question with yes', { short: 'y' }),
  quiet: flag.on('answers and errors only', { short: 'q' }),
  verbose: flag.on('print requests, without bodies', { short: 'v' }),
  noColor: flag.on('no colours'),
  utc: flag.on('times in UTC'),
  timeout: flag.duration('longest wait for an answer (60s)'),
});
export type CliGlobals = z.output<typeof cliGlobals>;
export type CliCommand = Command<CliGlobals>;

export const cliCommand = commandOf<CliGlobals>();

export function outputOf(globals: CliGlobals, io: CommandIo): OutputOptions {
  return {
    form: globals.json ? 'json' : (globals.output ?? 'table'),
    color: io.stdoutIsTerminal && !globals.noColor && (io.env['NO_COLOR'] ?? '') === '' && io.env['TERM'] !== 'dumb',
    quiet: globals.quiet,
    utc: globals.utc,
  };
}

/** Works with a client, which is closed afterwards. */
export async function withClient<T>(
  { globals }: CommandInput<unknown, CliGlobals>,
  io: CommandIo,
  work: (client: ApiClient, output: OutputOptions) => Promise<T>,
): Promise<T> {
  const client = createApiClient(connectionOf(globals, io.env), {
    signal: io.signal,
    claimedBy: io.env['SUDO_USER'] ?? io.env['LOGNAME'],
    ...(globals.verbose ? { trace: (line: string) => io.err(`${escapeCell(line)}\n`) } : {}),
  });
  try {
    return await work(client, outputOf(globals, io));
  } finally {
    client.close();
  }
}

/** All pages up to the wanted number of rows; says on standard error how to see the rest. */
export async function readPages<T>(
  { globals }: CommandInput<unknown, CliGlobals>,
  io: CommandIo,
  read: (page: { limit: number; cursor?: string }) => Promise<{
    readonly items: readonly T[];
    readonly next_cursor: string | null;
    readonly complete: boolean;
    readonly spokes: readonly SpokeStatusItem[];
  }>,
): Promise<{ items: T[]; next_cursor: string | null; complete: boolean; spokes: readonly SpokeStatusItem[] }> {
  const wanted = globals.all ? Number.POSITIVE_INFINITY : (globals.limit ?? 100);
  const items: T[] = [];
  let complete = true;
  for (let cursor: string | null = null; ; ) {
    const page = await read({ limit: Math.max(1, Math.min(1000, wanted - items.length)), ...(cursor === null ? {} : { cursor }) });
    items.push(...page.items);
    complete &&= page.complete;
    cursor = page.next_cursor;
    if (cursor !== null && items.length < wanted) continue;
    if (cursor !== null && !globals.json && !globals.quiet) io.err(`${items.length} shown, there are more: --limit or --all\n`);
    return { items, next_cursor: cursor, complete, spokes: page.spokes };
  }
}

/** True when a person, or `--yes`, agrees. Without a terminal and without `--yes` the answer is no. */
export async function confirmed({ globals }: CommandInput<unknown, CliGlobals>, io: CommandIo, question: string): Promise<boolean> {
  if (globals.yes) return true;
  const answer = await io.ask(`${question} [y/N] `);
  return /^y(es)?$/i.test(answer?.trim() ?? '');
}
