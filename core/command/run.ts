/** Runs a program: parse, help, run, and every error as one line with its exit code. */
import { createInterface } from 'node:readline/promises';
import type { z } from 'zod';
import { CodedError, ERROR_CODES, messageOf } from '../base/errors.ts';
import { isPlainObject } from '../base/json.ts';
import type { CommandIo, Program } from './command.ts';
import { commandHelp, programHelp } from './help.ts';
import { escapeCell, escapeText } from './output.ts';
import { parseCommandLine } from './parse.ts';

export const EXIT_INTERRUPTED = 130;

function findingLines(details: Readonly<Record<string, unknown>> | undefined): string[] {
  const findings = details?.['findings'];
  if (!Array.isArray(findings)) return [];
  return findings
    .filter(isPlainObject)
    .map((finding) => `  ${String(finding['path'] ?? '')} ${String(finding['rule'] ?? '')} ${String(finding['message'] ?? '')}`.trimEnd());
}

/** Prints the error; answers the exit code. */
export function reportError(error: unknown, program: string, io: Pick<CommandIo, 'err' | 'signal'>): number {
  if (io.signal.aborted) return EXIT_INTERRUPTED;
  if (!(error instanceof CodedError)) {
    io.err(`${program}: internal failure: ${escapeCell(messageOf(error))}\n`);
    return 1;
  }
  io.err(`${program}: ${escapeCell(error.message)} [${error.code}]\n`);
  for (const line of findingLines(error.details)) io.err(`${escapeCell(line)}\n`);
  if (error.hint !== undefined) io.err(`  hint: ${escapeText(error.hint)}\n`);
  return ERROR_CODES[error.code].exit;
}

/** The exit code. Never throws, never ends the process. */
export async function runProgram<G extends z.ZodObject>(program: Program<G>, argv: readonly string[], io: CommandIo): Promise<number> {
  try {
    const parsed = parseCommandLine(program, argv);
    const plain = program as unknown as Program;
    if (parsed.kind === 'version') {
      io.out(`${program.name} ${program.version}\n`);
      return 0;
    }
    if (parsed.kind === 'help') {
      const command = plain.commands.find(
        (each) => each.name.length <= parsed.words.length && each.name.every((word, index) => parsed.words[index] === word),
      );
      io.out(command === undefined ? programHelp(plain, parsed.words) : commandHelp(plain, command));
      return 0;
    }
    return await parsed.command.run(parsed.input, io);
  } catch (error) {
    return reportError(error, program.name, io);
  }
}

/** The real streams of this process. */
export function processIo(): CommandIo {
  const ending = new AbortController();
  process.once('SIGINT', () => {
    ending.abort();
    // a second interrupt ends the process at once
    process.once('SIGINT', () => process.exit(EXIT_INTERRUPTED));
  });
  // a reader that went away (`| head`) is no failure
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    async stdin() {
      const chunks: Buffer[] = [];
      for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
      return Buffer.concat(chunks).toString('utf8');
    },
    async ask(question) {
      if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
      const lines = createInterface({ input: process.stdin, output: process.stderr });
      try {
        return await lines.question(question, { signal: ending.signal });
      } finally {
        lines.close();
      }
    },
    stdinIsTerminal: process.stdin.isTTY === true,
    stdoutIsTerminal: process.stdout.isTTY === true,
    stderrIsTerminal: process.stderr.isTTY === true,
    columns: process.stdout.columns ?? 120,
    env: process.env,
    signal: ending.signal,
  };
}
