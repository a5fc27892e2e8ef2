/** What a command of `vigocli`, `vigo` or `vigosrv` is: words, flags, positional arguments, and what it does. */
import type { z } from 'zod';

export interface Positional {
  readonly name: string;
  readonly summary: string;
  readonly optional?: boolean;
  /** takes all that follow; last only */
  readonly many?: boolean;
}

export type OutputForm = 'table' | 'wide' | 'csv' | 'json';

/** Everything a command may say or ask; tests give their own. */
export interface CommandIo {
  /** standard output, as it is */
  out(text: string): void;
  /** standard error, as it is */
  err(text: string): void;
  /** all of standard input */
  stdin(): Promise<string>;
  /** a line typed by a person; undefined without a terminal */
  ask(question: string): Promise<string | undefined>;
  readonly stdinIsTerminal: boolean;
  readonly stdoutIsTerminal: boolean;
  readonly stderrIsTerminal: boolean;
  /** characters in a line of the terminal */
  readonly columns: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** aborts on an interrupt */
  readonly signal: AbortSignal;
}

/** How the answer is to look. */
export interface OutputOptions {
  readonly form: OutputForm;
  readonly color: boolean;
  readonly quiet: boolean;
  readonly utc: boolean;
}

export interface CommandInput<F, G> {
  readonly flags: F;
  readonly globals: G;
  readonly args: readonly string[];
}

/** Flag names are written in camelCase here and as `--kebab-case` on the command line. */
export interface CommandSpec<F extends z.ZodObject, G> {
  readonly name: readonly [string, ...string[]];
  readonly summary: string;
  /** more lines for `--help` */
  readonly details?: string;
  readonly flags: F;
  readonly positional?: readonly Positional[];
  /** the exit code */
  run(input: CommandInput<z.output<F>, G>, io: CommandIo): Promise<number>;
}

/** A command whose flags are checked by its own schema before `run` sees them. */
export interface Command<G = unknown> {
  readonly name: readonly [string, ...string[]];
  readonly summary: string;
  readonly details?: string | undefined;
  readonly flags: z.ZodObject;
  readonly positional: readonly Positional[];
  run(input: CommandInput<unknown, G>, io: CommandIo): Promise<number>;
}

export interface Program<G extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  readonly summary: string;
  readonly version: string;
  /** flags that every command knows */
  readonly globals: G;
  /** sorted by name */
  readonly commands: readonly Command<z.output<G>>[];
}

/** For commands that need the globals of their program typed. */
export function commandOf<G>() {
  return <F extends z.ZodObject>(spec: CommandSpec<F, G>): Command<G> => ({
    name: spec.name,
    summary: spec.summary,
    details: spec.details,
    flags: spec.flags,
    positional: spec.positional ?? [],
    run: (input, io) => spec.run({ ...input, flags: input.flags as z.output<F> }, io),
  });
}
