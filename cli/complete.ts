/** Says how complete an answer about the fleet is, and makes it an exit code (server.md §5.1). */
import type { SpokeStatusItem } from '../core/api/route.ts';
import type { CommandInput, CommandIo } from '../core/command/command.ts';
import { escapeCell } from '../core/command/output.ts';
import type { CliGlobals } from './globals.ts';

/** Exit code of an answer with holes. */
export const EXIT_INCOMPLETE = 8;

function ageText(seconds: number | null): string {
  return seconds === null ? 'never heard' : `heard ${seconds} s ago`;
}

/** The data are printed by now. @returns `exit`, or 8 when spokes are missing and nobody said that this is fine */
export function exitOf(
  { globals }: CommandInput<unknown, CliGlobals>,
  io: Pick<CommandIo, 'err'>,
  answer: { readonly complete?: boolean | undefined; readonly spokes?: readonly SpokeStatusItem[] | undefined },
  exit = 0,
): number {
  const { complete = true, spokes = [] } = answer;
  if (complete) return exit;
  const answered = spokes.filter(({ status, error }) => status === 'answered' && error === undefined);
  if (!globals.quiet) {
    io.err(`${answered.length} of ${spokes.length} spokes answered\n`);
    for (const { id, status, age_s: age, error } of spokes) {
      if (status === 'answered' && error === undefined) continue;
      const why = error === undefined ? `${status === 'timed_out' ? 'timed out' : status}, ${ageText(age)}` : error;
      io.err(`  ${escapeCell(id)}: ${escapeCell(why)}\n`);
    }
  }
  return globals.allowPartial || exit !== 0 ? exit : EXIT_INCOMPLETE;
}
