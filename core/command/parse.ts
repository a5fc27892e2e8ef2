/** Words of the command line to a command and its checked input. */
import { parseArgs } from 'node:util';
import type { z } from 'zod';
import { didYouMean } from '../base/did-you-mean.ts';
import { CodedError } from '../base/errors.ts';
import type { Command, CommandInput, Program } from './command.ts';
import { kebab, kindOfFlag, metaOf } from './flags.ts';

export type Parsed<G> =
  | { readonly kind: 'run'; readonly command: Command<G>; readonly input: CommandInput<unknown, G> }
  /** the words that were given before `--help` */
  | { readonly kind: 'help'; readonly words: readonly string[] }
  | { readonly kind: 'version' };

function usage(message: string, hint?: string): CodedError {
  return new CodedError('USAGE', message, { hint });
}

function flagsOf(shape: Readonly<Record<string, z.ZodType>>): Map<string, { readonly name: string; readonly schema: z.ZodType }> {
  return new Map(Object.entries(shape).map(([name, schema]) => [kebab(name), { name, schema }]));
}

function optionsOf(flags: ReturnType<typeof flagsOf>) {
  const options: Record<string, { type: 'boolean' | 'string'; multiple: boolean; short?: string }> = Object.create(null);
  options['help'] = { type: 'boolean', short: 'h', multiple: false };
  for (const [word, { schema }] of flags) {
    const kind = kindOfFlag(schema);
    const { short } = metaOf(schema);
    options[word] = {
      type: kind === 'boolean' ? 'boolean' : 'string',
      multiple: kind === 'list',
      ...(short === undefined ? {} : { short }),
    };
  }
  return options;
}

/** Global flags may stand before the command, its own flags only behind it. */
function wordsOf(argv: readonly string[], flags: ReturnType<typeof flagsOf>): string[] {
  const { tokens } = parseArgs({ args: [...argv], options: optionsOf(flags), strict: false, allowPositionals: true, tokens: true });
  return tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []));
}

function findCommand<G>(commands: readonly Command<G>[], words: readonly string[]): Command<G> | undefined {
  return commands
    .filter((command) => command.name.every((word, index) => words[index] === word))
    .sort((a, b) => b.name.length - a.name.length)[0];
}

function unknownCommand(program: Program, words: readonly string[]): CodedError {
  const [noun = ''] = words;
  const siblings = program.commands.filter((command) => command.name[0] === noun);
  if (siblings.length === 0) {
    return usage(
      `unknown command "${noun}"`,
      didYouMean(noun, new Set(program.commands.map((command) => command.name[0]))) ?? `${program.name} --help lists all commands`,
    );
  }
  const verb = words[1];
  const verbs = siblings.map((command) => command.name.slice(1).join(' '));
  if (verb === undefined) return usage(`"${noun}" needs one of: ${verbs.join(', ')}`);
  return usage(`unknown command "${noun} ${verb}"`, didYouMean(verb, verbs) ?? `one of: ${verbs.join(', ')}`);
}

function checked(schema: z.ZodObject, values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const name = kebab(String(issue.path[0] ?? ''));
  const given = values[String(issue.path[0] ?? '')];
  throw usage(
    given === undefined
      ? `--${name} is needed`
      : `--${name} "${String(given)}" ${issue.code === 'custom' || issue.message.startsWith('is ') ? issue.message : `is not accepted: ${issue.message}`}`,
  );
}

function checkPositional<G>(command: Command<G>, args: readonly string[]): void {
  const { positional } = command;
  const needed = positional.filter((each) => each.optional !== true);
  if (args.length < needed.length)
    throw usage(`<${needed[args.length]!.name}> is missing`, `${command.name.join(' ')} ${positionalUsage(command)}`);
  if (args.length > positional.length && positional.at(-1)?.many !== true)
    throw usage('there are more arguments than this command takes', `${command.name.join(' ')} ${positionalUsage(command)}`.trim());
}

export function positionalUsage<G>(command: Command<G>): string {
  return command.positional
    .map((each) => (each.optional === true ? `[${each.name}]` : `<${each.name}>`) + (each.many === true ? '…' : ''))
    .join(' ');
}

/** @throws CodedError USAGE */
export function parseCommandLine<G extends z.ZodObject>(program: Program<G>, argv: readonly string[]): Parsed<z.output<G>> {
  const globals = flagsOf(program.globals.shape);
  const command = findCommand(program.commands, wordsOf(argv, globals));
  const own = flagsOf(command?.flags.shape ?? {});
  const known = new Map([...globals, ...own]);
  const { values, tokens } = parseArgs({ args: [...argv], options: optionsOf(known), strict: false, allowPositionals: true, tokens: true });
  const words = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []));
  if (values['help'] === true) return { kind: 'help', words };
  if (values['version'] === true && !known.has('version')) return { kind: 'version' };
  if (command === undefined) {
    if (words.length === 0) throw usage('a command is needed', `${program.name} --help lists them`);
    throw unknownCommand(program, words);
  }
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const spec = known.get(token.name);
    if (spec === undefined) throw usage(`unknown flag ${token.rawName}`, didYouMean(token.name, known.keys())?.replace(/"(.*)"/, '--$1'));
    const takesValue = kindOfFlag(spec.schema) !== 'boolean';
    if (takesValue && token.value === undefined) throw usage(`${token.rawName} needs a value`);
    if (!takesValue && token.value !== undefined) throw usage(`${token.rawName} takes no value`);
  }
  const read = (flags: typeof known) =>
    Object.fromEntries([...flags].filter(([word]) => values[word] !== undefined).map(([word, { name }]) => [name, values[word]]));
  const args = words.slice(command.name.length);
  const input = {
    flags: checked(command.flags, read(own)),
    globals: checked(program.globals, read(globals)) as z.output<G>,
    args,
  };
  checkPositional(command, args);
  return { kind: 'run', command, input };
}
