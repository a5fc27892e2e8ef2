/** What `--help` prints; the same objects make the reference pages. */
import type { z } from 'zod';
import type { Command, Program } from './command.ts';
import { kebab, kindOfFlag, metaOf } from './flags.ts';
import { positionalUsage } from './parse.ts';

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.min(36, Math.max(0, ...rows.map(([left]) => left.length)));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`.trimEnd()).join('\n');
}

function flagRows(shape: Readonly<Record<string, z.ZodType>>): (readonly [string, string])[] {
  return Object.entries(shape).map(([name, schema]) => {
    const { description, short, value } = metaOf(schema);
    const needed = schema.safeParse(undefined).success ? '' : ' (needed)';
    const left = `${short === undefined ? '' : `-${short}, `}--${kebab(name)}${kindOfFlag(schema) === 'boolean' ? '' : ` <${value ?? 'text'}>`}`;
    return [left, description + needed];
  });
}

export function commandHelp(program: Program, command: Command): string {
  const parts = [`${program.name} ${command.name.join(' ')} ${positionalUsage(command)}`.trimEnd(), `\n${command.summary}`];
  if (command.details !== undefined) parts.push(`\n${command.details}`);
  if (command.positional.length > 0) parts.push(`\nArguments:\n${columns(command.positional.map((each) => [each.name, each.summary]))}`);
  const own = flagRows(command.flags.shape);
  if (own.length > 0) parts.push(`\nFlags:\n${columns(own)}`);
  parts.push(`\nCommon flags:\n${columns([...flagRows(program.globals.shape), ['-h, --help', 'this text']])}`);
  return `${parts.join('\n')}\n`;
}

/** All commands, or those below a noun. */
export function programHelp(program: Program, words: readonly string[]): string {
  const [noun] = words;
  const below = program.commands.filter((command) => noun === undefined || command.name[0] === noun);
  const listed = below.length === 0 ? program.commands : below;
  const rows = listed.map((command): readonly [string, string] => [
    `${command.name.join(' ')} ${positionalUsage(command)}`.trimEnd(),
    command.summary,
  ]);
  const globals = columns([...flagRows(program.globals.shape), ['-h, --help', 'help for a command']]);
  return `${program.name}: ${program.summary}\n\nCommands:\n${columns(rows)}\n\nCommon flags:\n${globals}\n`;
}
